"""Trainings: what they learn, how they end, and that a killed one goes on as if nothing was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy
import pytest
import torch
from torch import Tensor

from ipo_dspy import Budget, CLIPClassifier, CoCoOp, CoOp, CoPrompt, MaPLe, PromptSRC
from ipo_dspy.encoders.prompted_towers import Towers
from ipo_dspy.errors import ArgumentError, DataError, JournalError, TrainingError
from ipo_dspy.optimizers.checkpoint import Epoch
from ipo_dspy.optimizers.prompt_learner import CHECKPOINT, PromptLearner
from ipo_dspy.optimizers.schedule import GaussianAverage

KINDS: dict[str, type[PromptLearner]] = {
    "coop": CoOp,
    "cocoop": CoCoOp,
    "maple": MaPLe,
    "promptsrc": PromptSRC,
    "coprompt": CoPrompt,
}
QUICK: dict[str, Any] = {"epochs": 3, "batch_size": 6, "progress": False}


def learned(program: dspy.Module) -> dict[str, Tensor]:
    found: CLIPClassifier = program  # type: ignore[assignment]
    assert found.predict.learned is not None
    return dict(found.predict.learned.tensors)


def learner(kind: str, **arguments: Any) -> PromptLearner:
    if kind == "promptsrc":
        arguments.setdefault("teacher_templates", ["a photo of a {}.", "{}"])
    return KINDS[kind](**{**QUICK, **arguments})


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in (*one, *other))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_loss(
    program: CLIPClassifier, examples: list[dspy.Example], kind: str
) -> None:
    found: list[Epoch] = []
    arguments: dict[str, Any] = {"epochs": 5, "lr": 0.02, "on_epoch": found.append}
    # The same view all the time, so that losses can be compared.
    arguments["augmentation"] = "none"
    learner(kind, **arguments).compile(program, trainset=examples)
    assert [epoch.epoch for epoch in found] == [1, 2, 3, 4, 5]
    assert found[-1].loss < found[0].loss


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_tensors_and_other_seed_others(
    program: CLIPClassifier, examples: list[dspy.Example], kind: str
) -> None:
    one, again, other = (
        learned(learner(kind, seed=seed).compile(program, trainset=examples)) for seed in (1, 1, 2)
    )
    assert same(one, again)
    assert not same(one, other)


class StopError(Exception):
    """What ends a training from outside."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_was_stopped_goes_on_after_its_last_epoch(
    program: CLIPClassifier, examples: list[dspy.Example], kind: str, tmp_path: Path
) -> None:
    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise StopError

    straight = learner(kind).compile(program, trainset=examples)
    with pytest.raises(StopError):
        learner(kind, run_dir=tmp_path, on_epoch=stop).compile(program, trainset=examples)
    made: list[Epoch] = []
    resumed = learner(kind, run_dir=tmp_path, on_epoch=made.append).compile(
        program, trainset=examples
    )
    assert [epoch.epoch for epoch in made] == [3]
    assert same(learned(straight), learned(resumed))
    assert len(resumed.detailed_results.epochs) == 3
    again = learner(kind, run_dir=tmp_path, on_epoch=made.append).compile(
        program, trainset=examples
    )
    assert len(made) == 1
    assert same(learned(straight), learned(again))


KILLED = """
import sys
from pathlib import Path
from ipo_dspy import CLIPClassifier, PromptSRC
from ipo_dspy.demo.world import write_folder
folder = Path(sys.argv[1])
if not folder.exists():
    write_folder(folder, medium="chalk", class_names=["cat", "boat"], per_class=4, seed=0,
                 split="train")
program = CLIPClassifier.from_folder(folder)
learner = PromptSRC(epochs=6, progress=False, run_dir=sys.argv[2], teacher_templates=["{}"],
                    on_epoch=lambda epoch: print(epoch.epoch, flush=True))
learner.compile(program).save(sys.argv[3])
"""


@pytest.mark.slow
def test_a_killed_process_is_resumed_with_equal_tensors(tmp_path: Path) -> None:
    def start(run: str, program: str) -> subprocess.Popen[str]:
        arguments = [tmp_path / "photos", tmp_path / run, tmp_path / program]
        command = [sys.executable, "-c", KILLED, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ.copy())

    with start("straight", "straight.json") as straight:
        straight.communicate(timeout=200)
    with start("killed", "never.json") as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline().strip() == "1"
        killed.send_signal(signal.SIGKILL)
    with start("killed", "resumed.json") as resumed:
        printed, _ = resumed.communicate(timeout=200)
    assert printed.split()[0] != "1"
    one, other = (
        (tmp_path / name).read_bytes() for name in ("straight.safetensors", "resumed.safetensors")
    )
    assert one == other


def test_another_training_does_not_take_over_a_run_folder(
    program: CLIPClassifier, examples: list[dspy.Example], tmp_path: Path
) -> None:
    CoOp(run_dir=tmp_path, **QUICK).compile(program, trainset=examples)
    for other in (CoOp(run_dir=tmp_path, seed=9, **QUICK), MaPLe(run_dir=tmp_path, **QUICK)):
        with pytest.raises(JournalError):
            other.compile(program, trainset=examples)
    with pytest.raises(JournalError):
        CoOp(run_dir=tmp_path, **QUICK).compile(program, trainset=examples[:-1])


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x10" + bytes(30)])
def test_a_damaged_checkpoint_is_named(
    program: CLIPClassifier, examples: list[dspy.Example], tmp_path: Path, content: bytes
) -> None:
    CoOp(run_dir=tmp_path, **QUICK).compile(program, trainset=examples)
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(TrainingError, match=CHECKPOINT):
        CoOp(run_dir=tmp_path, **QUICK).compile(program, trainset=examples)


@pytest.mark.slow
def test_the_budget_ends_a_training_and_keeps_what_was_learned(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    endless = CoCoOp(epochs=100_000, progress=False, budget=Budget(seconds=1.0))
    started = time.monotonic()
    best = endless.compile(program, trainset=examples)
    assert time.monotonic() - started < 60
    assert "seconds" in best.detailed_results.ended_by
    start = CoCoOp().prompted(program).learned()
    assert not same(learned(best), start)


def test_a_budget_of_nothing_leaves_the_beginning(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    best = CoOp(budget=Budget(seconds=0.0), progress=False).compile(program, trainset=examples)
    assert same(learned(best), CoOp().prompted(program).learned())
    assert best.score is None


def test_a_loss_that_is_no_number_stops_the_training(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    class Broken(CoOp):
        def model(self, towers: Towers, context: Any, classnames: Sequence[str]) -> Any:
            model = super().model(towers, context, classnames)
            with torch.no_grad():
                model.vectors[0, 0] = float("nan")
            return model

    with pytest.raises(TrainingError, match="step 1"):
        Broken(**QUICK).compile(program, trainset=examples)


def test_what_cannot_be_trained_on_is_refused_before(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    unknown = [*examples, dspy.Example(image=examples[0].image, label="pink").with_inputs("image")]
    with pytest.raises(DataError, match="pink"):
        CoOp(**QUICK).compile(program, trainset=unknown)
    with pytest.raises(ArgumentError):
        CoOp(**QUICK).compile(program)
    with pytest.raises(ArgumentError, match="no image"):
        CoOp(**QUICK).compile(program, trainset=[dspy.Example(text="x", label="red")])
    long = CLIPClassifier(["red", "green", "very " * 80 + "blue"], program.embedder)
    with pytest.raises(ArgumentError, match="very blue"):
        CoOp(**QUICK).compile(long, trainset=examples[:4])


def test_a_missing_image_is_named(program: CLIPClassifier, tmp_path: Path) -> None:
    gone = dspy.Example(image=tmp_path / "gone.png", label="red").with_inputs("image")
    with pytest.raises(DataError, match=r"gone\.png"):
        CoOp(**QUICK).compile(program, trainset=[gone])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coop", "promptsrc", "coprompt"])
def test_a_view_that_never_changes_is_encoded_once_and_changes_nothing(
    program: CLIPClassifier,
    examples: list[dspy.Example],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features kept from the start give what the loop gives that encodes in every step."""
    from ipo_dspy.optimizers.training import Training

    kept = learner(kind, augmentation="none").compile(program, trainset=examples)
    monkeypatch.setattr(Training, "_fixed_features", None)
    plain = learner(kind, augmentation="none").compile(program, trainset=examples)
    for name, tensor in learned(kept).items():
        assert torch.allclose(tensor, learned(plain)[name], atol=1e-5)


def test_the_average_over_epochs_is_what_is_kept(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    states: list[dict[str, Tensor]] = []

    class Watched(PromptSRC):
        def model(self, towers: Towers, context: Any, classnames: Sequence[str]) -> Any:
            self.watched = super().model(towers, context, classnames)
            return self.watched

    average = GaussianAverage(mean=2, deviation=1)
    watched = Watched(average=average, teacher_templates=["{}"], **QUICK)
    watched.on_epoch = lambda _: states.append(watched.watched.learned())
    best = watched.compile(program, trainset=examples)
    weights = average.weights(3)
    for name, tensor in learned(best).items():
        expected = sum(w * state[name] for w, state in zip(weights, states, strict=True))
        assert torch.allclose(tensor, expected, atol=1e-6)  # type: ignore[arg-type]


def test_autocast_learns_about_the_same(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    exact, rough = (
        CoOp(precision=precision, **QUICK).compile(program, trainset=examples).detailed_results
        for precision in ("float32", "bfloat16")
    )
    assert rough.epochs[0].loss == pytest.approx(exact.epochs[0].loss, rel=0.05)
    with pytest.raises(ArgumentError, match="float8"):
        CoOp(precision="float8")


def test_the_journal_says_what_was_trained(
    program: CLIPClassifier, examples: list[dspy.Example], tmp_path: Path
) -> None:
    CoPrompt(run_dir=tmp_path, **QUICK).compile(program, trainset=examples)
    header, *events = map(json.loads, (tmp_path / "journal.jsonl").read_text().splitlines())
    assert header
    assert len([event for event in events if "description" in event]) == len(examples)
