"""One predictor whose instructions are searched for, and what becomes of a reply about them."""

from __future__ import annotations

from dataclasses import dataclass, field

import dspy

from ipo_dspy.errors import ArgumentError, EvaluationError, InvalidTemplateError, RefusedError, stop
from ipo_dspy.programs.predict import ZeroShotPredict
from ipo_dspy.prompts.rules import InstructionRules, Rules, TemplateRules, clean
from ipo_dspy.prompts.template import Template
from ipo_dspy.prompts.wording import MetaPrompt
from ipo_dspy.records import Call, Reply, Score, State, Trial
from ipo_dspy.scoring.scorers import Scorer
from ipo_dspy.search.history import History

TRIED_BEFORE = "it was tried before"


@dataclass(frozen=True)
class Target:
    """One predictor whose instructions are searched for.

    Attributes:
        name: the predictor's name in its program.
        predictor: what holds the instructions.
        rules: what makes a text a candidate.
        meta_prompt: the instructions to the prompt model.
        training: scores texts on the training set.
        validation: scores texts on the validation set, where there is one.
        history: the trials so far.
    """

    name: str
    predictor: dspy.Predict
    rules: Rules
    meta_prompt: MetaPrompt
    training: Scorer
    validation: Scorer | None = None
    history: History = field(default_factory=History)

    def use(self, text: str) -> None:
        """Give the predictor a text."""
        self.predictor.signature = self.predictor.signature.with_instructions(text)

    def initial(self, slot: int) -> Trial:
        """Score the text that the predictor has before the first step.

        Raises:
            SearchStoppedError: the program cannot be evaluated as it is.
        """
        try:
            return self._scored((0, slot), self.predictor.signature.instructions)
        except EvaluationError as error:
            stop(f"The program cannot be evaluated as it is: {error}.", error)

    def judge(self, reply: Reply) -> Trial:
        """Check a reply by the rules, and score it if it passes."""
        if reply.text is None:
            return self._unscored(reply, "", State.FAILED, reply.error or "no answer")
        text = clean(reply.text)
        try:
            text = self.rules.check(text)
        except RefusedError as error:
            return self._unscored(reply, text, State.INVALID, str(error))
        if text in self.history:
            return self._unscored(reply, text, State.INVALID, TRIED_BEFORE)
        try:
            return self._scored(reply.call, text)
        except EvaluationError as error:
            return self._unscored(reply, text, State.FAILED, str(error))

    def _scored(self, call: Call, text: str) -> Trial:
        step, slot = call
        validation: Score | None = None
        [score] = self.training.score([text])
        if self.validation is not None:
            [validation] = self.validation.score([text])
        return Trial(
            step=step,
            slot=slot,
            predictor=self.name,
            text=text,
            state=State.OK,
            score=score,
            validation=validation,
        )

    def _unscored(self, reply: Reply, text: str, state: State, reason: str) -> Trial:
        return Trial(
            step=reply.step,
            slot=reply.slot,
            predictor=self.name,
            text=text,
            state=state,
            reason=reason,
            # A model that repeats itself works; there may just be little left to find.
            counts_as_failure=reason != TRIED_BEFORE,
        )


def rules_for(predictor: dspy.Predict) -> Rules:
    """Choose the rules for the texts of a predictor: templates for CLIP, else instructions."""
    if isinstance(predictor, ZeroShotPredict):
        return TemplateRules(predictor.embedder, predictor.classnames)
    return InstructionRules()


def initial_text(predictor: dspy.Predict, rules: Rules, given: str | None) -> str:
    """Choose the text to begin with: the one given, else the predictor's own.

    Raises:
        ArgumentError: it is for CLIP, and breaks a rule.
    """
    if not isinstance(predictor, ZeroShotPredict):
        return given or str(predictor.signature.instructions)
    text = given or predictor.template.text
    try:
        # Unlike a proposal, it may be an ensemble of several lines.
        return "\n".join(rules.check(line) for line in Template(text).lines)
    except (RefusedError, InvalidTemplateError) as error:
        raise ArgumentError(f"The initial prompt {text!r} cannot be used: {error}.") from error
