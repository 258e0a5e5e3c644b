"""A second world for the benchmarks, on which nothing is tuned: another encoder, look and classes.

Its encoder learned its logit scale, its pictures are stained glass windows, and every second class
of the demo world is novel. See MODEL_CARD.md.
"""

from __future__ import annotations

from pathlib import Path

from ipo_dspy.demo.encoder import load_demo_model
from ipo_dspy.demo.task import draw_task
from ipo_dspy.demo.world import CLASSES
from ipo_dspy.encoders.dual_encoder import frozen
from ipo_dspy.encoders.open_clip import OpenCLIPEncoder
from ipo_dspy.images.task import Task

NAME = "second"
MEDIUM = "stained glass"
BASE_CLASSES = CLASSES[::2]
NOVEL_CLASSES = CLASSES[1::2]


def load_second_encoder() -> OpenCLIPEncoder:
    """Load the encoder whose weights lie beside this file."""
    model, preprocess, tokenizer = load_demo_model(Path(__file__).parent)
    return OpenCLIPEncoder(
        NAME, frozen(model, "cpu"), preprocess, tokenizer, device="cpu", precision="float32"
    )


def second_task(pictures: Path, seed: int = 0, *, shots: int | None = None) -> Task:
    """Draw the pictures of one seed, where they are not there yet, and read them.

    Args:
        pictures: folder of the drawings of all seeds.
        seed: of the drawings.
        shots: drawings of each base class to search on; None makes one.
    """
    return draw_task(
        pictures,
        seed,
        shots=shots,
        name=NAME,
        medium=MEDIUM,
        base=BASE_CLASSES,
        novel=NOVEL_CLASSES,
    )
