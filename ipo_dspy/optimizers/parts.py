"""What decides a search: the parts by which its run is known again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dspy

from ipo_dspy.programs.predict import ZeroShotPredict, zero_shot_predictors
from ipo_dspy.prompts.wording import INSTRUCTION_META_PROMPT, MetaPrompt
from ipo_dspy.proposing.describers import Describer
from ipo_dspy.proposing.proposer import Proposer
from ipo_dspy.runs.identity import Examples, Part, RunIdentity, Setting, Thing
from ipo_dspy.runs.identity.content import model_settings
from ipo_dspy.runs.identity.earlier import STANDARD, callable_name, digest, fingerprint

if TYPE_CHECKING:
    from ipo_dspy.optimizers.ipo import IPOOptimizer

_ADDRESS = ("api_base", "base_url")
# Of these the settings of the run tell more.
_TOLD = ("`encoder`", "the name of the language model")


def identity_of(
    optimizer: IPOOptimizer,
    program: dspy.Module,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example],
    lm: dspy.BaseLM,
    describer: Describer,
) -> RunIdentity:
    """Tell what decides a search.

    Args:
        optimizer: has the settings, the metric and the proposer.
        program: the student.
        trainset: the examples to search on.
        valset: the examples that decide which prompt is kept; may be empty.
        lm: the prompt model.
        describer: what describes the images.

    Raises:
        UnknownIdentityError: it cannot be told of a part, and `identity` vouches for nothing.
        UnreadableImage: an image cannot be read.
    """
    targets, searched = optimizer.searched(program), optimizer.predictors
    noun = ("image", "images") if zero_shot_predictors(program) else ("example", "examples")
    first = [optimizer.initial or p.signature.instructions for p in targets.values()]
    of_0_1 = _header_of_0_1(optimizer, program, trainset, valset, lm, describer)
    clip = [each for each in targets.values() if isinstance(each, ZeroShotPredict)]
    parts: list[Part] = [
        Examples("training", noun, f"training {noun[1]}", trainset),
        Examples("validation", noun, f"validation {noun[1]}", valset),
        Setting("initial", "another first prompt", first),
        Setting("encoder", "another encoder", [p.embedder.encoder.spec for p in clip]),
        Thing("metric", "another metric", optimizer.metric),
        Setting("language_models", "other language models of the program", _models(program)),
        Thing("program", "another program", program, _TOLD),
        Setting("prompt_model", "another prompt model", lm.model),
        Thing("asking", "other settings of the prompt model", _asking(lm)),
        Setting("describer", "another description of the images", describer.spec),
        Thing("meta_prompt", "another meta-prompt", _own_meta_prompt(optimizer) or STANDARD),
        Thing("proposer", "another proposer", optimizer.proposer or STANDARD),
        Setting("seed", "another seed", optimizer.seed),
        Setting(
            "prompts_per_step", "another number of prompts per step", optimizer.prompts_per_step
        ),
        Setting("history_size", "another size of the history", optimizer.history_size),
        Setting(
            "images_described", "another number of described images", optimizer.images_described
        ),
        Setting("temperature", "another temperature", optimizer.temperature),
        Setting("preset", "another preset", optimizer.preset),
        Thing("strategy", "another strategy", optimizer.strategy),
        # What a run without the setting has always been goes on.
        *([] if searched is None else [Setting("predictors", "other predictors", list(searched))]),
    ]
    # The first texts are a part of their own. What has no model of its own and is not the program
    # is given the prompt model.
    with _without_texts(targets), dspy.context(lm=dspy.settings.lm or lm):
        return RunIdentity(parts, optimizer.identity, of_0_1)


def _models(program: dspy.Module) -> list[str | None]:
    return [
        getattr(predictor.lm or dspy.settings.lm, "model", None)
        for predictor in program.predictors()
        if not isinstance(predictor, ZeroShotPredict)
    ]


def _asking(lm: dspy.BaseLM) -> dict[str, Any]:
    # A server that moved is asked on: its answers so far stay those of the model of that name.
    return {name: it for name, it in model_settings(lm).items() if name not in _ADDRESS}


@contextmanager
def _without_texts(predictors: Mapping[str, dspy.Predict]) -> Iterator[None]:
    before = {name: predictor.signature for name, predictor in predictors.items()}
    for predictor in predictors.values():
        predictor.signature = predictor.signature.with_instructions("-")
    try:
        yield
    finally:
        for name, predictor in predictors.items():
            predictor.signature = before[name]


def _own_meta_prompt(optimizer: IPOOptimizer) -> MetaPrompt | None:
    """The caller's meta-prompt; None where it is a standard one, which a new version may reword."""
    given = optimizer.meta_prompt
    return None if given in (None, MetaPrompt(), INSTRUCTION_META_PROMPT) else given


def _header_of_0_1(
    optimizer: IPOOptimizer,
    program: dspy.Module,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example],
    lm: dspy.BaseLM,
    describer: Describer,
) -> Any:
    """What version 0.1 wrote at the top of a journal, made when it is asked for."""
    clip = zero_shot_predictors(program).values()
    meta_prompt = _own_meta_prompt(optimizer)
    proposer = (optimizer.proposer or Proposer()).dump_state()
    is_standard = meta_prompt is None and optimizer.proposer is None
    initial = optimizer.initial or [p.signature.instructions for p in program.predictors()]
    return lambda: {
        "seed": optimizer.seed,
        "prompt_model": lm.model,
        "describer": describer.spec,
        "encoder": [predictor.embedder.encoder.spec for predictor in clip],
        "encoder_weights": digest([p.embedder.encoder_identity for p in clip]),
        "class_names": digest([repr(predictor.classnames) for predictor in clip]),
        "demo_cache": [
            [
                f"DemoCache(weight={p.demo_cache.weight}, sharpness={p.demo_cache.sharpness})",
                fingerprint(p.demos),
            ]
            for p in clip
            if p.demo_cache is not None
        ],
        "training_images": fingerprint(trainset),
        "validation_images": fingerprint(valset),
        "initial": initial,
        "metric": callable_name(optimizer.metric),
        "program": type(program).__qualname__,
        "language_models": _models(program),
        "prompts_per_step": optimizer.prompts_per_step,
        "history_size": optimizer.history_size,
        "images_described": optimizer.images_described,
        "temperature": optimizer.temperature,
        "steady": optimizer.strategy == "steady",
        "meta_prompt": STANDARD if is_standard else digest([repr(meta_prompt), repr(proposer)]),
    }
