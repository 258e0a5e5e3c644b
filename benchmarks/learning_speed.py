"""How fast CoOp and MaPLe train on the demo, beside the plain loop; writes learning_speed.*.

The plain loop is the authors': texts padded to 77 tokens, one step after the other, its images
decoded and changed in between. Both train the same vectors on the same images.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from torch.nn import functional

from benchmarks.figures import aligned
from benchmarks.provenance import RESULTS, provenance
from ipo_dspy import CLIPClassifier, CoOp, MaPLe, load_encoder
from ipo_dspy.demo.task import demo_task
from ipo_dspy.encoders.prompted_towers import PlacedTexts
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images.image import open_image
from ipo_dspy.optimizers.prompt_learner import PromptLearner
from ipo_dspy.optimizers.views import Views
from ipo_dspy.programs.probabilities import class_indices

CONTEXT_LENGTH = 77
GOALS = {"CoOp": 120, "MaPLe": 240}
"""Seconds on two cores that the whole training may take."""


def main() -> None:
    """Train both ways, in turns, and write the times."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning_speed", description=__doc__
    )
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clip", default="demo")
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    embedder = Embedder(load_encoder(options.clip, device=options.device, precision="float32"))
    with TemporaryDirectory() as folder:
        images = demo_task(Path(folder), shots=options.shots).train
        program = CLIPClassifier.from_images(images, embedder)
        rows = [
            _measure("CoOp", CoOp(epochs=50, progress=False), program, options.rounds),
            _measure("MaPLe", MaPLe(progress=False), program, options.rounds),
        ]
    made = provenance("benchmarks.learning_speed")
    options.out.mkdir(parents=True, exist_ok=True)
    written = {"provenance": made, "encoder": options.clip, "shots": options.shots, "rows": rows}
    content = json.dumps(written, indent=1) + "\n"
    (options.out / "learning_speed.json").write_text(content, encoding="utf-8")
    text = _markdown(rows, written)
    (options.out / "learning_speed.md").write_text(text, encoding="utf-8")
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def _measure(
    name: str, learner: PromptLearner, program: CLIPClassifier, rounds: int
) -> dict[str, Any]:
    """Seconds an epoch, medians over rounds in which both ways take turns."""
    epochs = learner.training.epochs
    ours: list[float] = []
    plain: list[float] = []
    for _ in range(rounds):
        with _timed(ours):
            learner.compile(program)
        with _timed(plain):
            _plain_epoch(learner, program)
    ours_seconds, plain_seconds = median(ours), median(plain) * epochs
    return {
        "learner": name,
        "epochs": epochs,
        "seconds": round(ours_seconds, 2),
        "plain_seconds": round(plain_seconds, 2),
        "ratio": round(plain_seconds / ours_seconds, 2),
        "goal_seconds": GOALS[name],
    }


@contextmanager
def _timed(into: list[float]) -> Iterator[None]:
    started = perf_counter()
    yield
    into.append(perf_counter() - started)


def _plain_epoch(learner: PromptLearner, program: CLIPClassifier) -> None:
    model = learner.prompted(program)
    model.texts = _padded(model.texts)
    trainset = program.trainset or []
    labels = torch.tensor(class_indices(program.classnames, [e.label for e in trainset]))
    views = Views(model.towers, learner.views, learner.seed)
    recipe, device = learner.training, model.towers.device
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr_in(1), recipe.momentum)
    for batch in recipe.batches(len(trainset), 1, learner.seed):
        pixels = torch.stack(
            [views.view(open_image(trainset[index].image), index, 1) for index in batch]
        ).to(device)
        loss = functional.cross_entropy(model.logits(pixels), labels[batch].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _padded(texts: PlacedTexts) -> PlacedTexts:
    behind = (0, CONTEXT_LENGTH - texts.tokens.shape[1])
    return PlacedTexts(
        functional.pad(texts.tokens, behind),
        texts.ends,
        functional.pad(texts.slots, behind, value=-1),
    )


def _markdown(rows: list[dict[str, Any]], written: dict[str, Any]) -> str:
    made = written["provenance"]
    changes = " with uncommitted changes" if made["uncommitted_changes"] else ""
    headings = ["learner", "epochs", "seconds", "plain loop", "times as fast", "goal"]
    cells = [
        [
            row["learner"],
            str(row["epochs"]),
            f"{row['seconds']:.1f}",
            f"{row['plain_seconds']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['goal_seconds']}",
        ]
        for row in rows
    ]
    return "\n".join(
        [
            "# Speed of learning",
            "",
            f"`{made['command']}`, {made['date']}, commit {made['commit']}{changes}. Encoder "
            f"`{written['encoder']}`, {written['shots']} shots of 24 classes; seconds for all "
            "epochs, those of the plain loop worked out from one epoch.",
            "",
            *aligned(headings, cells),
            "",
        ]
    )


if __name__ == "__main__":
    main()
