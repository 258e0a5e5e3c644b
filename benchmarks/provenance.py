"""Where a result comes from: command, date, commit, versions and machine."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("ipo-dspy", "dspy", "torch", "open_clip_torch", "transformers")
_CODE = ("ipo_dspy", "benchmarks", ":!benchmarks/results")
RESULTS = Path(__file__).parent / "results"


def provenance(module: str) -> dict[str, Any]:
    """Tell what made a result; goes into every results file.

    Args:
        module: the module that was run, such as `benchmarks.teleprompters`.
    """
    return {
        "command": f"python -m {shlex.join([module, *sys.argv[1:]])}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", *_CODE)),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {_processor()}",
        "versions": {name: version(name) for name in _PACKAGES},
    }


def write_result(stem: Path, content: dict[str, Any], text: str) -> None:
    """Write a result beside its page: `stem` with `.json` and with `.md`."""
    stem.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    stem.with_suffix(".md").write_text(text, "utf-8")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parent.parent, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    import os

    name = platform.processor() or "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    return f"{name}, {os.cpu_count()} cores"
