import subprocess
import sys

import ipo_dspy

SLOW = ("torch", "open_clip", "transformers", "torchvision")


def test_importing_the_package_loads_no_model_library() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys, ipo_dspy; print([m for m in {SLOW} if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "[]"


def test_every_public_name_is_there_and_documented() -> None:
    for name in ipo_dspy.__all__:
        value = getattr(ipo_dspy, name)
        assert not (isinstance(value, type) and not value.__doc__), name
