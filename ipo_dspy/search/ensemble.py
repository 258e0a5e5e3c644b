"""The best prompts of a search as one program, beside the single best one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dspy

from ipo_dspy.programs.predict import ZeroShotPredict, zero_shot_predictors
from ipo_dspy.prompts.template import Template
from ipo_dspy.records import Score, Trial
from ipo_dspy.scoring.ranking import Ranking, by_merit

if TYPE_CHECKING:
    from torch import Tensor

ALIKE = 1e-5
"""Texts whose features differ nowhere by more are one text to the encoder."""


def join_best(
    program: dspy.Module, trials: Sequence[Trial], ranking: Ranking, size: int
) -> dspy.Module | None:
    """Join the best prompts of a search to one program: the mean of their text features.

    The best are those with the highest sum of standardised accuracy and standardised negative
    fitted loss: over several prompts luck evens out, so the loss may count as much as the accuracy.
    Texts that the encoder reads alike count once.

    Args:
        program: the program found; it is not changed.
        trials: of the search; those of other predictors' texts are left out.
        ranking: knows the fitted loss.
        size: most prompts to join.

    Returns:
        None where the program has no template or several, or fewer than two prompts differ.
    """
    predictors = zero_shot_predictors(program)
    if size < 2 or len(predictors) != 1:
        return None
    [(name, predictor)] = predictors.items()
    scored = [
        (trial.text, trial.validation or trial.score)
        for trial in trials
        if trial.score is not None and trial.predictor in ("", name)
    ]
    texts = best_together(predictor, scored, ranking, size) if scored else []
    if len(texts) < 2:
        return None
    ensemble = program.deepcopy()
    joined = zero_shot_predictors(ensemble)[name]
    lines = [line for text in texts for line in Template(text).lines]
    joined.signature = joined.signature.with_instructions("\n".join(dict.fromkeys(lines)))
    return ensemble


def best_together(
    predictor: ZeroShotPredict, scored: Sequence[tuple[str, Score]], ranking: Ranking, size: int
) -> list[str]:
    """Choose the texts to join, at most `size`, best first; see `join_best`."""
    return _differing(predictor, _best_first(scored, ranking), size)


def _best_first(scored: Sequence[tuple[str, Score]], ranking: Ranking) -> list[str]:
    order = by_merit([(score.accuracy, ranking.loss(score)) for _, score in scored])
    return [scored[index][0] for index in reversed(order)]


def _differing(predictor: ZeroShotPredict, texts: Sequence[str], size: int) -> list[str]:
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
