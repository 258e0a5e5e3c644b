"""What each ablation compares, beside the poster's figures for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.base_to_novel.options import BenchmarkOptions
from benchmarks.figures import NONE
from benchmarks.poster import POSTER, Printed
from ipo_dspy.errors import ArgumentError
from ipo_dspy.local_models.presets import Preset, read_presets

HISTORY_LENGTHS = (0, 1, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Variant:
    """One line of an ablation.

    Attributes:
        name: as the poster writes it, where the poster has it.
        value: what it stands for here, such as the model that is asked today.
        options: of its searches.
        poster: the poster's figures, over its eleven data sets.
    """

    name: str
    value: str
    options: BenchmarkOptions
    poster: Printed | None = None


def prompt_models(run: BenchmarkOptions, specs: Sequence[str]) -> list[Variant]:
    """Compare models that propose: those named, or else what the poster's presets ask today."""
    specs = specs or (("offline",) if run.data.demo else ())
    return [
        Variant(
            name,
            spec,
            replace(run, proposing=replace(run.proposing, prompt_model=spec)),
            POSTER.prompt_models.get(name),
        )
        for name, spec in _models("prompt", specs)
    ]


def image_models(run: BenchmarkOptions, specs: Sequence[str]) -> list[Variant]:
    """Compare models that describe: those named, or else what the poster's presets ask today."""
    specs = specs or (("vocabulary",) if run.data.demo else ())
    return [
        Variant(
            name,
            spec,
            replace(run, describing=replace(run.describing, image_model=spec)),
            POSTER.image_models.get(name),
        )
        for name, spec in _models("image", specs)
    ]


def descriptions(run: BenchmarkOptions) -> list[Variant]:
    """Compare searches without descriptions of the images and with them.

    Raises:
        ArgumentError: there is nothing that describes.
    """
    described_by = run.describing.image_model
    if described_by == "none":
        raise ArgumentError(
            "Expected something that describes images to compare with none; give a vision model or "
            "'vocabulary' as --image-model."
        )
    return [
        Variant(
            name,
            spec,
            replace(run, describing=replace(run.describing, image_model=spec)),
            POSTER.descriptions[name],
        )
        for name, spec in (("without", "none"), ("with", described_by))
    ]


def history_lengths(run: BenchmarkOptions, lengths: Sequence[int]) -> list[Variant]:
    """Compare how many scored prompts the prompt model is shown."""
    return [
        Variant(
            f"n = {length}",
            str(length),
            replace(run, search=replace(run.search, history_size=length)),
            POSTER.history.get(length),
        )
        for length in lengths or HISTORY_LENGTHS
    ]


def _models(role: Literal["prompt", "image"], specs: Sequence[str]) -> list[tuple[str, str]]:
    """The poster's name and the spec of each model; other models have no such name."""
    presets = [preset for preset in read_presets() if preset.role == role]
    if not specs:
        return [(preset.name, preset.use) for preset in presets]
    return [(_name(spec, presets), spec) for spec in specs]


def _name(spec: str, presets: Sequence[Preset]) -> str:
    names = (preset.name for preset in presets if spec in (preset.use, preset.original))
    return next(names, NONE)
