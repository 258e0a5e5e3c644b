"""The best prompts of a search as one program, beside the single best one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dspy

from ipo_dspy.programs.predict import ZeroShotPredict, zero_shot_predictors
from ipo_dspy.prompts.template import Template
from ipo_dspy.records import Trial
from ipo_dspy.scoring.ranking import Ranking

if TYPE_CHECKING:
    from torch import Tensor

ALIKE = 1e-5
"""Texts whose features differ nowhere by more are one text to the encoder."""


def join_best(
    program: dspy.Module, trials: Sequence[Trial], ranking: Ranking, size: int
) -> dspy.Module | None:
    """Join the best prompts of a search to one program: the mean of their text features.

    The best are those that the ranking puts first. Texts that the encoder reads alike count once.

    Args:
        program: the program found; it is not changed.
        trials: of the search; those of other predictors' texts are left out.
        ranking: orders them.
        size: most prompts to join.

    Returns:
        None where the program has no template or several, or fewer than two prompts differ.
    """
    predictors = zero_shot_predictors(program)
    if size < 2 or len(predictors) != 1:
        return None
    [(name, predictor)] = predictors.items()
    scored = [one for one in trials if one.score is not None and one.predictor in ("", name)]
    ranked = sorted(scored, key=ranking.key, reverse=True)
    texts = differing(predictor, [trial.text for trial in ranked], size)
    if len(texts) < 2:
        return None
    ensemble = program.deepcopy()
    joined = zero_shot_predictors(ensemble)[name]
    lines = [line for text in texts for line in Template(text).lines]
    joined.signature = joined.signature.with_instructions("\n".join(dict.fromkeys(lines)))
    return ensemble


def differing(predictor: ZeroShotPredict, texts: Sequence[str], size: int) -> list[str]:
    """Choose the first `size` of some templates that the encoder does not read alike."""
    chosen: list[str] = []
    known: list[Tensor] = []
    for text in texts:
        features = predictor.embedder.text_features(Template(text), predictor.classnames)
        if all((features - other).abs().max() > ALIKE for other in known):
            chosen.append(text)
            known.append(features)
        if len(chosen) == size:
            break
    return chosen
