"""Settings that tell the language models of other optimizers what a CLIP template is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import dspy

from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import checked
from ipo_dspy.programs.predict import zero_shot_predictors
from ipo_dspy.prompts.rules import TemplateRules
from ipo_dspy.prompts.wording import PROPOSE_TEMPLATE
from ipo_dspy.upstream.dspy_parts import InstructionProposer

MIPROV2_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "program_aware_proposer": True,
        "data_aware_proposer": False,
        "tip_aware_proposer": False,
        "fewshot_aware_proposer": False,
        "max_bootstrapped_demos": 0,
        "max_labeled_demos": 0,
    }
)
"""For `MIPROv2(...).compile(program, trainset=..., **MIPROV2_SETTINGS)`.

MIPROv2's language model learns what a template is from the source of the program, which these
settings let it see. They leave out what misleads: tips on how to instruct language models, a
summary of data whose images it cannot see, and demos, which only a `TipAdapter` uses.
"""


_Base: Any = InstructionProposer or object


@checked
class TemplateProposer(_Base):
    """GEPA's `instruction_proposer` for programs with a `CLIPPredict`.

    `dspy.GEPA(metric=clip_acc, instruction_proposer=TemplateProposer(program), reflection_lm=...)`.
    Templates are asked for as templates, with the length that the encoder takes; instructions of
    other predictors as GEPA always does.

    Args:
        program: the program to optimise.

    Raises:
        ArgumentError: DSPy is 3.4.0, whose GEPA has no proposer that can be told of templates.
    """

    def __init__(self, program: dspy.Module) -> None:
        if InstructionProposer is None:
            raise ArgumentError(
                f"TemplateProposer needs DSPy 3.4.1 or newer, and {dspy.__version__} is installed; "
                "run pip install --upgrade dspy-ai."
            )
        super().__init__()
        self._proposers = {
            name: InstructionProposer(
                base_instructions=PROPOSE_TEMPLATE,
                additional_instructions=TemplateRules(
                    predictor.embedder, predictor.classnames
                ).limit,
            )
            for name, predictor in zero_shot_predictors(program).items()
        }

    def __call__(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """Propose a new text for each component; see GEPA's `ProposalFn`."""
        others = [name for name in components_to_update if name not in self._proposers]
        proposed: dict[str, str] = super().__call__(candidate, reflective_dataset, others)
        for name, propose in self._proposers.items():
            if name in components_to_update:
                proposed |= propose(candidate, reflective_dataset, [name])
        return proposed
