"""One predictor whose instructions are searched for, and what becomes of a reply about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import dspy

from ipo_dspy.errors import ArgumentError, EvaluationError, InvalidTemplateError, RefusedError, stop
from ipo_dspy.programs.predict import ZeroShotPredict
from ipo_dspy.prompts.rules import InstructionRules, Rules, TemplateRules, clean
from ipo_dspy.prompts.template import FIRST_TEMPLATES, Template
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
        others: texts that are scored at the start, without a call, beside the predictor's own.
        history: the trials so far.
    """

    name: str
    predictor: dspy.Predict
    rules: Rules
    meta_prompt: MetaPrompt
    training: Scorer
    validation: Scorer | None = None
    others: Sequence[str] = ()
    history: History = field(default_factory=History)

    @property
    def first(self) -> list[str]:
        """The texts to begin with; the search is to beat the first one."""
        return [str(self.predictor.signature.instructions), *self.others]

    def use(self, text: str) -> None:
        """Give the predictor a text."""
        self.predictor.signature = self.predictor.signature.with_instructions(text)

    def initial(self, slot: int, text: str) -> Trial:
        """Score a text before the first step.

        Raises:
            SearchStoppedError: the program cannot be evaluated as it is.
        """
        try:
            return self._scored((0, slot), text)
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


def keeps_case(predictor: dspy.Predict) -> bool:
    """Whether letter case matters: to language models it does, to most of CLIP's tokenizers not."""
    return not isinstance(predictor, ZeroShotPredict) or predictor.embedder.keeps_case


def first_texts(
    predictor: dspy.Predict, rules: Rules, given: str | Sequence[str] | None, *, varied: bool
) -> list[str]:
    """Choose the texts to begin with: those given, else the predictor's own.

    Args:
        predictor: what has the texts.
        rules: of its texts.
        given: the texts the user gave.
        varied: whether a template that stands alone gets `FIRST_TEMPLATES` beside it.

    Raises:
        ArgumentError: there is none, or one is for CLIP and breaks a rule.
    """
    texts = [given] if isinstance(given, str) else list(given or [])
    if given is not None and not texts:
        raise ArgumentError("Expected at least one initial prompt, got an empty list.")
    if not isinstance(predictor, ZeroShotPredict):
        return texts or [str(predictor.signature.instructions)]
    first = [_first_template(text, rules) for text in texts or [predictor.template.text]]
    if varied and (given is None or isinstance(given, str)):
        first += [text for text in FIRST_TEMPLATES if _fits(text, rules)]
    return list(dict.fromkeys(first))


def _fits(text: str, rules: Rules) -> bool:
    try:
        rules.form(text)
    except RefusedError:
        return False
    return True


def _first_template(text: str, rules: Rules) -> str:
    try:
        # Unlike a proposal, it may be an ensemble of several lines.
        return "\n".join(rules.form(line) for line in Template(text).lines)
    except (RefusedError, InvalidTemplateError) as error:
        raise ArgumentError(f"The initial prompt {text!r} cannot be used: {error}.") from error
