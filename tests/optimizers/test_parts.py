import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import orjson
import pytest

from ipo_dspy import CLIPClassifier, IPOOptimizer, MetaPrompt, clip_acc, clip_prob
from ipo_dspy.errors import JournalError, UnknownIdentityError
from ipo_dspy.proposing.proposer import Proposer
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm

OF_0_1 = Path(__file__).parents[1] / "runs" / "identity" / "data" / "journal_0_1.jsonl"
"""A search of version 0.1 that was killed when it had the first of two answers."""

START = "a <CLASS>."
LM = scripted_lm(["a <CLASS>."])


def student(**settings: Any) -> CLIPClassifier:
    return CLIPClassifier(list(COLOURS), ColourEncoder(), START, **settings)


def begun(run_dir: Path, metric: Callable[..., Any] = clip_acc, **settings: Any) -> IPOOptimizer:
    lm = settings.pop("prompt_model", None) or scripted_lm(["a crisp <CLASS>.", "a flat <CLASS>."])
    kept = {"steps": 1, "prompts_per_step": 2, "num_threads": 1, "run_dir": run_dir}
    return IPOOptimizer(metric, prompt_model=lm, **{**kept, **settings})


def calls(optimizer: IPOOptimizer, program: dspy.Module | None = None, **given: Any) -> int:
    """How many calls of the prompt model a search makes now."""
    given = {"trainset": colour_examples(), **given}
    optimizer.compile(program or student(), **given)
    assert isinstance(optimizer.prompt_model, dspy.LM)
    return len(optimizer.prompt_model.engine.requests)


# Journals of version 0.1


@pytest.fixture
def of_0_1(tmp_path: Path) -> Path:
    shutil.copy(OF_0_1, tmp_path / "journal.jsonl")
    return tmp_path


def test_a_run_of_version_0_1_goes_on(of_0_1: Path) -> None:
    assert calls(begun(of_0_1)) == 1
    assert calls(begun(of_0_1)) == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seed": 1}, "another seed"),
        ({"initial": "the <CLASS>"}, "another first prompt"),
        ({"metric": clip_prob}, "another metric"),
        ({"meta_prompt": MetaPrompt(goal="Win.")}, "another meta-prompt"),
        ({"temperature": 0.5}, "another temperature"),
    ],
)
def test_another_run_than_that_of_version_0_1_is_refused(
    of_0_1: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(JournalError, match=said):
        calls(begun(of_0_1, **settings))


def test_other_images_than_those_of_version_0_1_are_refused(of_0_1: Path) -> None:
    with pytest.raises(JournalError, match="training"):
        calls(begun(of_0_1), trainset=colour_examples(2))


# Journals of this version


def test_the_version_alone_makes_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert calls(begun(tmp_path)) == 2
    monkeypatch.setattr("ipo_dspy.optimizers.base.version", lambda name: "9.9.9")
    assert calls(begun(tmp_path)) == 0


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    assert calls(begun(tmp_path, seed=np.int64(3), temperature=np.float32(1))) == 2
    assert calls(begun(tmp_path, seed=3, history_size=np.int32(20))) == 0


def test_a_tilde_stands_for_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    calls(begun(Path("~/runs/x")))
    assert (tmp_path / "runs" / "x" / "journal.jsonl").is_file()


class Rude(Proposer):
    def forward(self, *args: Any, **kwargs: Any) -> dspy.Prediction:
        return super().forward(*args, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"metric": clip_prob}, "another metric ('clip_acc' then, 'clip_prob' now)"),
        ({"initial": "the <CLASS>"}, "another first prompt"),
        ({"meta_prompt": MetaPrompt(goal="Win.")}, "another meta-prompt"),
        ({"proposer": Rude()}, "another proposer"),
        (
            {"prompt_model": LM.copy(top_p=0.5)},
            "other settings of the prompt model (`top_p` changed)",
        ),
        ({"describer": "none"}, "another description of the images"),
        ({"prompts_per_step": 3}, "another number of prompts per step (2 then, 3 now)"),
    ],
)
def test_what_differs_is_told(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    calls(begun(tmp_path))
    with pytest.raises(JournalError) as caught:
        calls(begun(tmp_path, **changed))
    assert said in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "given", "said"),
    [
        (student(), {"trainset": colour_examples(2)}, "6 images were added (training images)"),
        (student(), {"trainset": colour_examples()[:4]}, "2 images were removed (training images)"),
        (student(), {"valset": colour_examples()}, "6 images were added (validation images)"),
        (student(top_k=2), {}, "another program (`top_k` of `predict` changed)"),
        (CLIPClassifier([*COLOURS, "pink"], ColourEncoder(), START), {}, "`classnames`"),
        (CLIPClassifier(list(COLOURS), ColourEncoder(["x"]), START), {}, "another encoder"),
    ],
)
def test_other_examples_and_programs_are_told(
    tmp_path: Path, program: dspy.Module, given: dict[str, Any], said: str
) -> None:
    calls(begun(tmp_path))
    with pytest.raises(JournalError) as caught:
        calls(begun(tmp_path), program, **given)
    assert said in str(caught.value)


def test_the_first_prompt_is_the_same_wherever_it_is_given(tmp_path: Path) -> None:
    assert (
        calls(begun(tmp_path, initial=START), CLIPClassifier(list(COLOURS), ColourEncoder())) == 2
    )
    assert calls(begun(tmp_path)) == 0


def test_images_that_a_program_brings_along_are_no_part_of_it(tmp_path: Path) -> None:
    from ipo_dspy import LabeledImages

    images = LabeledImages(tuple(colour_examples()), tuple(COLOURS))
    brought = CLIPClassifier.from_images(images, ColourEncoder(), START)
    assert calls(begun(tmp_path), brought, trainset=None) == 2
    assert calls(begun(tmp_path)) == 0


@pytest.mark.slow
def test_a_metric_that_cannot_be_told_is_asked_for_only_where_a_run_is_kept(tmp_path: Path) -> None:
    stream = (each for each in "abc")

    def metric(example: dspy.Example, pred: dspy.Prediction, trace: Any = None) -> float:
        return float(example.label == pred.label and stream is not None)

    assert calls(begun(None, metric)) == 2  # type: ignore[arg-type]
    with pytest.raises(UnknownIdentityError, match="metric"):
        calls(begun(tmp_path, metric))
    assert calls(begun(tmp_path, metric, identity="one")) == 2
    assert calls(begun(tmp_path, metric, identity="one")) == 0
    with pytest.raises(JournalError, match="identity="):
        calls(begun(tmp_path, metric, identity="two"))


def test_the_first_line_stays_short(tmp_path: Path) -> None:
    calls(begun(tmp_path))
    first = (tmp_path / "journal.jsonl").read_bytes().splitlines()[0]
    assert len(first) < 8000
    assert set(orjson.loads(first)) - {"crc32"} == {
        "format",
        "version",
        "python",
        "identity",
        "run",
    }


ODD = """
import sys, dspy, ipo_dspy.testing as t
from ipo_dspy import CLIPClassifier, IPOOptimizer
kind = sys.argv[2]
def metric(example, pred, trace=None):
    return float(example.label in {"red", "green", "blue"} and example.label == pred.label)
class Metric:
    def __init__(self): self.known = {"red", "green", "blue"}
    def __call__(self, example, pred, trace=None): return metric(example, pred)
    def bound(self, example, pred, trace=None): return self(example, pred)
metrics = {"function": metric, "object": Metric(), "method": Metric().bound}
data = t.colour_examples()
for one in data:
    one.tags, one.helper, one.thing = {"x", "y", one.label}, metric, Metric()
lm = t.scripted_lm(["a crisp <CLASS>.", "a flat <CLASS>."])
short = {"steps": 1, "prompts_per_step": 2, "run_dir": sys.argv[1]}
made = IPOOptimizer(metrics[kind], prompt_model=lm, **short)
made.compile(CLIPClassifier(list(t.COLOURS), t.ColourEncoder()), trainset=data)
print(len(lm.engine.requests))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["function", "object", "method"])
def test_a_run_with_odd_metrics_and_examples_goes_on_in_other_processes(
    tmp_path: Path, kind: str
) -> None:
    def made_now(hash_seed: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", ODD, str(tmp_path), kind],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[-1]

    assert [made_now(1), made_now(2), made_now(3)] == ["2", "0", "0"]
