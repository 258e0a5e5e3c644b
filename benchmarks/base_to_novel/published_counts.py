"""Do CLIP's counts of rightly classified images come out as published?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.base_to_novel.outcomes import Counted
from ipo_dspy.datasets import Benchmark, Half

OPENAI_VIT_B_16 = (
    "open_clip:ViT-B-16-quickgelu/openai",
    "open_clip:ViT-B-16/openai",
    "hf:openai/clip-vit-base-patch16",
)
"""The encoder that the published counts belong to."""


@dataclass(frozen=True)
class CountCheck:
    """What came of comparing with published counts."""

    state: Literal["agrees", "differs", "not checked"]
    sentence: str


def check_counts(
    benchmark: Benchmark | None, tested: Counted, clip: str, *, always: bool = False
) -> CountCheck:
    """Compare what CLIP does with the hand-written template with what is published.

    Args:
        benchmark: knows the published counts; None where nothing is published.
        tested: the test of the hand-written template.
        clip: spec of the encoder.
        always: compare whatever the encoder's spec; for weights in a file of another name.
    """
    if benchmark is None or benchmark.base is None or benchmark.novel is None:
        return CountCheck("not checked", "nothing is published")
    if clip not in OPENAI_VIT_B_16 and not always:
        return CountCheck("not checked", f"{clip} is not OpenAI's ViT-B/16")
    differences = [
        *_differences("base", benchmark.base, tested.base_images, tested.base_right),
        *_differences("novel", benchmark.novel, tested.novel_images, tested.novel_right),
    ]
    if differences:
        return CountCheck("differs", " and ".join(differences))
    return CountCheck(
        "agrees",
        f"{tested.base_right:,} of {tested.base_images:,} base and "
        f"{tested.novel_right:,} of {tested.novel_images:,} novel images",
    )


def _differences(name: str, half: Half, images: int, right: int) -> list[str]:
    if images != half.images:
        return [f"{images:,} {name} images instead of {half.images:,}"]
    if half.agrees(right):
        return []
    return [f"{right - half.correct:+,} {name} images right, {half.correct:,} published"]
