import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_names_the_commands(run: Run, shell: str) -> None:
    out = run("completion", shell).out
    assert all(command in out for command in ("optimize", "compare", "check-data"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_a_command(run: Run) -> None:
    Path("script").write_text(run("completion", "bash").out)
    asked = (
        "source ./script; COMP_WORDS=(ipo-dspy opti); COMP_CWORD=1; "
        '$(complete -p ipo-dspy | sed "s/.*-F \\([^ ]*\\).*/\\1/"); echo "${COMPREPLY[@]}"'
    )
    told = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "optimize"


def test_another_shell_is_refused(run: Run) -> None:
    assert run("completion", "csh").code == 2
