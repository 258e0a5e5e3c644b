from collections.abc import Callable
from typing import Any

from ipo_dspy.local_models.presets import read_presets


def test_every_model_of_the_poster_is_listed_with_an_option_to_copy(
    run: Callable[..., Any],
) -> None:
    lines = run("presets").out.splitlines()

    for preset in read_presets():
        assert preset.name in lines
        assert f"  --{preset.role}-model {preset.use}" in lines
