"""Do CLIP's counts of rightly classified images come out as published?"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

from benchmarks.base_to_novel.outcomes import Counted
from ipo_dspy.datasets import Benchmark, Half

OPENAI_VIT_B_16 = "open_clip:ViT-B-16-quickgelu/openai"
"""The encoder that the published counts belong to, by the name that loads everywhere."""

EXACT = "float32"
"""The precision in which counts come out; half precision moves images across the border."""

_SHARE_NEAR = 0.001
_LEAST_NEAR = 3


@dataclass(frozen=True)
class CountCheck:
    """What came of comparing with published counts.

    `near` is a difference that other hardware or another decoder of JPEG explains; `different` is
    more than that, and another set of images.
    """

    state: Literal["equal", "near", "different", "not checked"]
    sentence: str


def near(images: int) -> int:
    """How many images of so many may fall on the other side: one in a thousand, at least 3."""
    return max(_LEAST_NEAR, ceil(images * _SHARE_NEAR))


def check_counts(
    benchmark: Benchmark | None,
    tested: Counted | None,
    clip: str,
    *,
    precision: str = EXACT,
    always: bool = False,
) -> CountCheck:
    """Compare what CLIP does with the hand-written template with what is published.

    Args:
        benchmark: knows the published counts; None where nothing is published.
        tested: the test of the hand-written template; None where it is too long for the encoder.
        clip: spec of the encoder.
        precision: of the encoder.
        always: compare whatever the encoder's spec; for the same weights under another name.
    """
    if benchmark is None or benchmark.base is None or benchmark.novel is None:
        return CountCheck("not checked", "nothing is published")
    if tested is None:
        return CountCheck("not checked", "the hand-written template is too long for the encoder")
    if clip != OPENAI_VIT_B_16 and not always:
        return CountCheck("not checked", f"{clip} is not {OPENAI_VIT_B_16}")
    if precision != EXACT:
        return CountCheck("not checked", f"counts come out in {EXACT}, not in {precision}")
    halves = (
        ("base", benchmark.base, tested.base_images, tested.base_right),
        ("novel", benchmark.novel, tested.novel_images, tested.novel_right),
    )
    if others := [
        f"{images:,} {name} images instead of {half.images:,}"
        for name, half, images, _ in halves
        if images != half.images
    ]:
        return CountCheck("different", " and ".join(others))
    differing = [(name, half, right) for name, half, _, right in halves if not half.agrees(right)]
    if not differing:
        return CountCheck(
            "equal",
            f"{tested.base_right:,} of {tested.base_images:,} base and "
            f"{tested.novel_right:,} of {tested.novel_images:,} novel images",
        )
    told = " and ".join(_difference(*one) for one in differing)
    if all(abs(right - half.correct) <= near(half.images) for _, half, right in differing):
        bounds = " and ".join(f"{near(half.images)} {name}" for name, half, _ in differing)
        return CountCheck("near", f"within {bounds} images: {told}")
    return CountCheck("different", told)


def _difference(name: str, half: Half, right: int) -> str:
    return f"{right - half.correct:+,} {name} images right, {half.correct:,} published"
