"""How well does the demo encoder see, and how much does naming the medium help?

python -m benchmarks.measure_demo_encoder [--weights FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ipo_dspy.demo.encoder import WEIGHTS_FOLDER, load_demo_model
from ipo_dspy.demo.world import (
    BASE_CLASSES,
    CLASSES,
    DEMO_MEDIUM,
    MEDIA,
    NOVEL_CLASSES,
    draw,
    picture_seed,
)

HELD_OUT_SEED = 1000
DEFAULT = "a photo of a <CLASS>."
RIGHT = {
    "photo": "a realistic photograph of a <CLASS>.",
    "pencil": "a pencil sketch of a <CLASS> on paper.",
    "chalk": "a chalk drawing of a <CLASS> on a blackboard.",
    "blueprint": "a blueprint of a <CLASS>, white lines on blue.",
    "neon": "a glowing neon sign of a <CLASS> at night.",
    "mosaic": "a mosaic of a <CLASS> made of small tiles.",
    "watercolour": "a watercolour painting of a <CLASS>.",
    "embroidery": "an embroidery of a <CLASS>, stitched in thread.",
    "woodcut": "a woodcut print of a <CLASS> in black ink.",
    "stained glass": "a stained glass window showing a <CLASS>.",
    "pixel art": "a pixel art sprite of a <CLASS>.",
}


class Measurement:
    """Base and novel accuracy of templates on pictures that trained nothing."""

    def __init__(self, weights: Path) -> None:
        self._model, self._preprocess, self._tokenizer = load_demo_model(weights)

    @torch.no_grad()
    def see(self, medium: str, seed: int, per_class: int) -> Tensor:
        """Encode test pictures of every class: [classes, per_class, D]."""
        rows = []
        for name in CLASSES:
            seeds = [picture_seed("test", seed, index) for index in range(per_class)]
            pixels = torch.stack([self._preprocess(draw(name, medium, s)) for s in seeds])
            rows.append(self._model.encode_image(pixels, normalize=True))
        return torch.stack(rows)

    @torch.no_grad()
    def harmonic_mean(self, template: str, seen: Tensor) -> float:
        """Classify base among base and novel among novel names; 0 to 100."""
        texts = self._tokenizer([template.replace("<CLASS>", name) for name in CLASSES])
        features = self._model.encode_text(texts, normalize=True)
        base, novel = (
            _accuracy(seen[half], features[half])
            for half in (slice(0, len(BASE_CLASSES)), slice(len(BASE_CLASSES), len(CLASSES)))
        )
        return 2 * base * novel / (base + novel)


def _accuracy(seen: Tensor, texts: Tensor) -> float:
    guesses = (seen @ texts.T).argmax(dim=-1)
    right = guesses == torch.arange(len(texts))[:, None]
    return 100 * right.float().mean().item()


def held_out_table(measurement: Measurement, per_class: int) -> list[str]:
    """One row per medium: the right template, the photo template, the mean of the others."""
    rows = ["| medium | right medium | photo | wrong media, mean |", "|---|---|---|---|"]
    for medium in MEDIA:
        seen = measurement.see(medium, HELD_OUT_SEED, per_class)
        score = {name: measurement.harmonic_mean(text, seen) for name, text in RIGHT.items()}
        default = measurement.harmonic_mean(DEFAULT, seen)
        wrong = np.mean([score[name] for name in MEDIA if name not in (medium, "photo")])
        rows.append(f"| {medium} | {score[medium]:.1f} | {default:.1f} | {wrong:.1f} |")
    return rows


def demo_table(measurement: Measurement, per_class: int, seeds: Sequence[int]) -> list[str]:
    """The demo task: one row per template, one column per seed of the pictures."""
    seen = [measurement.see(DEMO_MEDIUM, seed, per_class) for seed in seeds]
    rows = [
        "| template | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean |",
        "|---" * (len(seeds) + 2) + "|",
    ]
    for template in (DEFAULT, *RIGHT.values()):
        scores = [measurement.harmonic_mean(template, features) for features in seen]
        figures = " | ".join(f"{score:.1f}" for score in (*scores, float(np.mean(scores))))
        rows.append(f"| {template} | {figures} |")
    return rows


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER)
    parser.add_argument("--per-class", type=int, default=20)
    options = parser.parse_args()
    measurement = Measurement(options.weights)
    print(f"Harmonic mean of {len(BASE_CLASSES)} base and {len(NOVEL_CLASSES)} novel classes, %.\n")
    print("\n".join(held_out_table(measurement, options.per_class)), end="\n\n")
    print("\n".join(demo_table(measurement, options.per_class, seeds=range(5))))


if __name__ == "__main__":
    main()
