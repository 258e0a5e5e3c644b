import importlib
import pkgutil
import subprocess
import sys

import ipo_dspy

SLOW = ("dspy", "torch", "open_clip", "transformers", "torchvision")


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


def test_all_errors_of_the_package_are_of_one_tree() -> None:
    found = {
        value
        for module in pkgutil.walk_packages(ipo_dspy.__path__, "ipo_dspy.")
        if not module.name.endswith("__main__")
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, type) and issubclass(value, Exception)
        if value.__module__.startswith("ipo_dspy.") and not value.__name__.startswith("_")
    }
    strangers = {error for error in found if not issubclass(error, ipo_dspy.IPOError)}
    assert strangers == set()
    public = {error for error in found if error.__module__ == "ipo_dspy.errors"}
    assert {error.__name__ for error in public} <= set(ipo_dspy.__all__)


def test_every_public_name_is_there_and_documented() -> None:
    for name in ipo_dspy.__all__:
        value = getattr(ipo_dspy, name)
        assert not (isinstance(value, type) and not value.__doc__), name
