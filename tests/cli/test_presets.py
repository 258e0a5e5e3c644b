from collections.abc import Callable
from typing import Any

from ipo_dspy.proposing.models import PRESETS


def test_every_model_of_the_poster_is_listed_with_an_option_to_copy(
    run: Callable[..., Any],
) -> None:
    lines = run("presets").out.splitlines()

    for preset in PRESETS:
        assert preset.name in lines
        assert f"  --{preset.role}-model {preset.use}" in lines
