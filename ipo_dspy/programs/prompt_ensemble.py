"""Several prompts as one program: the mean of their text features."""

from __future__ import annotations

from collections.abc import Sequence

import dspy

from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import checked
from ipo_dspy.programs.predict import zero_shot_predictors


@checked
def prompt_ensemble(programs: Sequence[dspy.Module]) -> dspy.Module:
    """Join the templates of programs of one kind into a program that uses them all.

    Each class is then represented by the mean of the unit text features of all templates, scaled to
    unit length: one program, as fast as one prompt, saved as one JSON file. Everything but the
    templates comes from the first program. `prompt_ensemble([c["program"] for c in
    best.candidate_programs[:5]])` joins the best prompts that IPO, COPRO, MIPROv2 or SIMBA found.

    Args:
        programs: programs with the same `CLIPPredict`s; none is changed.

    Raises:
        ArgumentError: there is no program, it has no `CLIPPredict`, or the programs differ in
            theirs.
    """
    if not programs:
        raise ArgumentError("Expected at least one program to join, got none.")
    program = programs[0].deepcopy()
    joined = zero_shot_predictors(program)
    if not joined:
        raise ArgumentError(f"{type(program).__name__} has no CLIPPredict to join prompts of.")
    others = [zero_shot_predictors(other) for other in programs]
    for predictors in others:
        if {n: p.classnames for n, p in predictors.items()} != {
            n: p.classnames for n, p in joined.items()
        }:
            raise ArgumentError(
                "The programs must have the same CLIPPredicts with the same classes."
            )
    for name, predictor in joined.items():
        lines = [line for predictors in others for line in predictors[name].template.lines]
        text = "\n".join(dict.fromkeys(lines))
        predictor.signature = predictor.signature.with_instructions(text)
    return program
