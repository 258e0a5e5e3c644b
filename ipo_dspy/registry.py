"""Names of what can be plugged in, and where it is: ours here, third parties' by entry points.

An installed distribution registers its own in `pyproject.toml`, under `ipo_dspy.` and the kind:

    [project.entry-points."ipo_dspy.exports"]
    my_tool = "my_package.my_module:MyExporter"

What a name stands for is imported when it is asked for, and no sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from ipo_dspy.errors import UnknownNameError

_OURS: Mapping[str, dict[str, str]] = {
    "strategies": {
        "steps": "ipo_dspy.search.strategies.steps:Steps",
        "random": "ipo_dspy.search.strategies.random_texts:RandomTexts",
        "evolve": "ipo_dspy.search.strategies.evolve:Evolve",
        "steady": "ipo_dspy.search.strategies.steady:Steady",
    },
    "encoders": {
        "demo": "ipo_dspy.demo.encoder:load_demo_encoder",
        "open_clip": "ipo_dspy.encoders.open_clip:load_open_clip_encoder",
        "hf": "ipo_dspy.encoders.transformers:load_transformers_encoder",
    },
    "exports": {
        "program": "ipo_dspy.exports.program:ProgramExporter",
        "report": "ipo_dspy.exports.report:ReportExporter",
        "weights": "ipo_dspy.exports.weights:WeightsExporter",
        "open_clip": "ipo_dspy.exports.open_clip:OpenCLIPExporter",
        "clip_benchmark": "ipo_dspy.exports.open_clip:CLIPBenchmarkExporter",
        "webdataset": "ipo_dspy.exports.open_clip:WebDatasetExporter",
        "huggingface": "ipo_dspy.exports.huggingface:HuggingFaceExporter",
        "transformers_js": "ipo_dspy.exports.huggingface:TransformersJSExporter",
        "fiftyone": "ipo_dspy.exports.fiftyone:FiftyOneExporter",
        "autodistill": "ipo_dspy.exports.autodistill:AutodistillExporter",
        "label_studio": "ipo_dspy.exports.label_studio:LabelStudioExporter",
    },
    # Called with what stands after the colon, and `sees_images` and `trust_remote_code` by name;
    # `offline`, which takes nothing, with nothing. They give a `dspy.LM`.
    "models": {
        "offline": "ipo_dspy.demo.proposer.offline:offline_lm",
        "hf": "ipo_dspy.local_models.models:local_model",
    },
    # Called with nothing; they give what became of models that publications used.
    "presets": {"poster": "ipo_dspy.local_models.presets:read_presets"},
    "backends": {
        "local": "ipo_dspy.features.backends:LocalBackend",
        "ray": "ipo_dspy.features.ray_backend:RayBackend",
    },
    "optimizers": {
        "ipo": "ipo_dspy.optimizers.ipo:IPOOptimizer",
        "coop": "ipo_dspy.optimizers.coop:CoOp",
        "cocoop": "ipo_dspy.optimizers.cocoop:CoCoOp",
        "maple": "ipo_dspy.optimizers.maple:MaPLe",
        "promptsrc": "ipo_dspy.optimizers.promptsrc:PromptSRC",
        "coprompt": "ipo_dspy.optimizers.coprompt:CoPrompt",
    },
    "tasks": {"demo": "ipo_dspy.demo.task:demo_task"},
}
KINDS = tuple(_OURS)
"""What can be plugged in; entry points of a kind are in the group `ipo_dspy.` and the kind."""


def names(kind: str) -> Mapping[str, str]:
    """Give the names of a kind, each with `module:object`; ours come first and are not replaced.

    Raises:
        UnknownNameError: there is no such kind.
    """
    if kind not in _OURS:
        raise UnknownNameError(f"{kind!r} is no kind of plug-in; expected {_listed(KINDS)}.")
    return MappingProxyType(_OURS[kind] | _plugged_in(kind))


@cache
def _plugged_in(kind: str) -> dict[str, str]:
    # Read once: it opens a file of every distribution there is.
    points = entry_points(group=f"ipo_dspy.{kind}")
    return {point.name: point.value for point in points if point.name not in _OURS[kind]}


def find(kind: str, name: str) -> Any:
    """Import what a name stands for.

    Raises:
        UnknownNameError: there is no such kind or name; the message has near matches, or says why
            the plug-in of that name cannot be imported.
    """
    known = names(kind)
    if name not in known:
        near = get_close_matches(name, known)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UnknownNameError(
            f"{name!r} is none of the {kind} there are; {hint}expected {_listed(known)}."
        )
    if name in _OURS[kind]:
        module, _, attribute = known[name].partition(":")
        return getattr(import_module(module), attribute)
    try:
        return EntryPoint(name, known[name], f"ipo_dspy.{kind}").load()
    except (ImportError, AttributeError) as error:
        raise UnknownNameError(
            f"The plug-in {name!r} of {kind}, {known[name]}, cannot be imported: {error}. "
            "Reinstall the distribution that registers it, or remove it."
        ) from error


def _listed(known: Mapping[str, str] | tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in known)
