"""`ipo-dspy presets`: the models of the paper's poster, and what to use today."""

from __future__ import annotations

from rich.padding import Padding
from rich.text import Text

from ipo_dspy.local_models.presets import read_presets
from ipo_dspy.terminal.output import results


def presets() -> None:
    """List the models that IPO's poster compares, and what to pass for them today."""
    for preset in read_presets():
        results.print(Text(preset.name, style="bold"))
        # An option is there to be copied, so it is not wrapped.
        results.print(f"  --{preset.role}-model {preset.use}", soft_wrap=True)
        results.print(Padding(preset.status, (0, 0, 1, 2)))
