import io

import pytest
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ipo_dspy.terminal import output

HOSTILE = "red \x1b[31m \x1b]0;title\x07 \u202eleft\u200b \x9b2J"


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("styled", [True, False])
def test_hidden_characters_reach_no_terminal_raw(terminal: bool, styled: bool) -> None:
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(Text(HOSTILE, style="bold" if styled else ""))
    for shown in (HOSTILE, Text(HOSTILE), table, Panel(HOSTILE)):
        file = io.StringIO()
        console = output._SafeConsole(
            file=file,
            force_terminal=terminal,
            no_color=True,
            markup=False,
            highlight=False,
            width=200,
        )
        console.print(shown)
        text = file.getvalue()
        assert not {"\u202e", "\u200b", "\x9b", "\x07"} & set(text)
        assert "\x1b]" not in text
        assert "\x1b[31m" not in text
        assert r"\x1b[31m" in text
