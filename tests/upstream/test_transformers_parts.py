"""What of transformers is relied on without its promise; says what a new version moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from ipo_dspy.upstream.transformers_parts import asks_for_code, remote_code


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose code leaves a file."""
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    made = tmp_path / "model"
    made.mkdir()
    (made / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    settings = {"model_type": "clip", "auto_map": {"AutoModelForCausalLM": "own.Own"}}
    (made / "config.json").write_text(json.dumps(settings))
    return made


def test_code_runs_only_where_it_is_trusted(folder: Path) -> None:
    ran = folder.with_name("ran")
    with pytest.raises(ValueError, match="trust") as caught, remote_code(trusted=False):
        get_class_from_dynamic_module("own.Own", folder)
    assert asks_for_code(caught.value)
    assert not ran.exists()
    with remote_code(trusted=True):
        get_class_from_dynamic_module("own.Own", folder)
    assert ran.exists()


def test_nothing_is_asked_on_the_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: str) -> str:
        raise AssertionError("it asked")

    monkeypatch.setattr("builtins.input", ask)
    with pytest.raises(ValueError, match="trust") as caught, remote_code(trusted=False):
        AutoModelForCausalLM.from_pretrained(folder)
    assert asks_for_code(caught.value)
