import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ipo_dspy
from ipo_dspy.cli import main
from ipo_dspy.terminal.command import SHOW_TRACEBACK

Run = Callable[..., Any]
PATIENCE = 60.0


@pytest.mark.slow
def test_help_loads_no_model_library() -> None:
    code = (
        "import sys; sys.argv = ['ipo-dspy', 'optimize', '--help']\n"
        "from ipo_dspy.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'open_clip', 'transformers', 'litellm'} & set(sys.modules)\n"
        "sys.exit(f'{slow} were imported' if slow else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_the_version_is_the_packages(run: Run) -> None:
    assert run("--version").out.strip() == ipo_dspy.__version__


def test_the_help_lists_the_commands(run: Run) -> None:
    out = run("--help").out
    for command in ("optimize", "plan", "evaluate", "describe", "presets"):
        assert command in out


def test_control_c_while_loading_ends_without_a_traceback() -> None:
    code = (
        "import sys\n"
        "class Stopped:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'ipo_dspy.cli.app': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stopped())\n"
        "from ipo_dspy.cli import main\n"
        "main(['--version'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == ""


@pytest.mark.slow
def test_an_unknown_option_is_refused(run: Run, pictures: Path) -> None:
    outcome = run("optimize", pictures, "--stepps", 3)
    assert outcome.code != 0
    assert "--steps" in outcome.err


def test_a_traceback_is_shown_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHOW_TRACEBACK, "1")
    with pytest.raises(ValueError, match="nowhere"):
        main(["optimize", "nowhere"])


def test_the_process_is_left_as_it_was(run: Run) -> None:
    before = signal.getsignal(signal.SIGINT)
    run("optimize", "nowhere")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_ends_with_one_line_and_the_run_can_go_on(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    command = ["optimize", str(pictures), "--prompts-per-step", "2", "--out", "run", "--steps"]
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ipo_dspy.cli", *command, "100000"],
        cwd=tmp_path,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(terminal)
    journal = tmp_path / "run" / "journal.jsonl"
    shown = b""
    while not (journal.exists() and b'"step":9' in journal.read_bytes() and b"/200000" in shown):
        shown += os.read(screen, 4096)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # How Linux says that nobody writes any more.
        while more := os.read(screen, 4096):
            shown += more

    text = shown.decode()
    assert process.wait(PATIENCE) == 130
    assert "best accuracy" in text
    assert (
        text.rstrip()
        .splitlines()[-1]
        .endswith("ipo-dspy: stopped; the same command goes on where it was.")
    )
    assert "Traceback" not in text
    assert run(*command, 4).code == 0


@pytest.mark.slow
def test_the_package_runs_as_the_command_does() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "ipo_dspy", "--version"], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == ipo_dspy.__version__


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["optimize", "predict", "compare", "evaluate", "export", "plan", "describe", "runs"]
)
def test_help_offers_no_empty_lists_and_keeps_the_slot(run: Run, command: str) -> None:
    outcome = run(command, "--help")
    assert "--empty-" not in outcome.out
    assert "default: (" not in outcome.out
    if command in ("optimize", "evaluate", "compare"):
        assert "<CLASS>" in outcome.out
    assert "of a ." not in outcome.out


@pytest.mark.parametrize(
    "option", [("--class-names", "names.txt"), ("--hold-out", "0.5"), ("--skip-bad-images",)]
)
def test_what_the_demo_cannot_heed_is_refused(run: Run, option: tuple[str, ...]) -> None:
    outcome = run("plan", *option)
    assert outcome.code == 1
    assert option[0] in outcome.err
