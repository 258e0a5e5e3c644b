"""One predictor whose instructions are searched for, and what becomes of a reply about them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import dspy

from ipo_dspy.errors import (
    ArgumentError,
    EvaluationError,
    InvalidTemplateError,
    MetricError,
    RefusedError,
    stop,
)
from ipo_dspy.programs.predict import ZeroShotPredict
from ipo_dspy.prompts.rules import InstructionRules, Rules, TemplateRules
from ipo_dspy.prompts.template import FIRST_TEMPLATES, Template
from ipo_dspy.prompts.wording import MetaPrompt, describe_step
from ipo_dspy.proposing.faults import stop_if_hopeless
from ipo_dspy.records import Call, Reply, Score, State, Trial
from ipo_dspy.runs.meter import measured
from ipo_dspy.scoring.scorers import Scorer
from ipo_dspy.search.history import History
from ipo_dspy.search.strategies import Ask

logger = logging.getLogger(__name__)

TRIED_BEFORE = "it was tried before"
NOTHING_RIGHT = Score(accuracy=0.0, loss=1.0, n=0)
"""The score of a program that fails on all examples."""
_REFUSALS_SHOWN = 5
_REFUSALS_MATTER = 10
"""What was refused more trials ago has been avoided since, or is of no use to say."""
_REFUSED_CHARACTERS = 160
_LOSERS_SHOWN = 40

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Target:
    """One predictor whose instructions are searched for.

    Attributes:
        name: the predictor's name in its program.
        predictor: what holds the instructions.
        rules: what makes a text a candidate.
        meta_prompt: the instructions to the prompt model.
        about: what else it is told about the step that the text is for; may be empty.
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
    about: str = ""
    others: Sequence[str] = ()
    history: History = field(default_factory=History)

    @property
    def first(self) -> list[str]:
        """The texts to begin with; the search is to beat the first one."""
        return [str(self.predictor.signature.instructions), *self.others]

    def use(self, text: str) -> None:
        """Give the predictor a text."""
        self.predictor.signature = self.predictor.signature.with_instructions(text)

    def inputs(
        self, asked: Ask, descriptions: Sequence[str], history_size: int
    ) -> Mapping[str, Any]:
        """What the prompt model sees with a question, from the history as it stands."""
        refusals = [
            (text[:_REFUSED_CHARACTERS], reason)
            for text, reason in self.history.refusals(_REFUSALS_SHOWN, _REFUSALS_MATTER)
        ]
        meta_prompt = replace(self.meta_prompt, goal=asked.goal or self.meta_prompt.goal)
        losers = self.history.losers(history_size, _LOSERS_SHOWN)
        rendered = meta_prompt.render(
            limit=self.rules.limit,
            refusals=refusals,
            losers=losers,
            in_percent=self.history.is_in_percent,
        )
        best = self.history.shown(history_size, asked.negative)
        shown = best if asked.shown is None else list(asked.shown)
        return {
            "meta_prompt": "\n\n".join(filter(None, [rendered, self.about])),
            "image_descriptions": list(descriptions),
            "scored_history": shown,
        }

    def initial(self, slot: int, text: str) -> Trial:
        """Score a text before the first step.

        Where the program fails on every example that is a score of 0, and a warning says so.

        Raises:
            SearchStoppedError: the metric fails, or a language model cannot be used.
        """
        try:
            [trial] = self._scored({(0, slot): text})
        except MetricError as error:
            stop(f"The program cannot be evaluated as it is: {error}.", error)
        except EvaluationError as error:
            if error.__cause__ is not None and (lm := self.predictor.lm or dspy.settings.lm):
                stop_if_hopeless(error.__cause__, lm)
            logger.warning("The program scores 0 with the text that it has: %s.", error)
            return self._trial((0, slot), text, State.OK, score=NOTHING_RIGHT)
        return trial

    def batches(self, answers: Sequence[_Answer]) -> list[Sequence[_Answer]]:
        """Divide answers into those that are scored together: all, or each by itself."""
        return [answers] if self.training.at_once else [[answer] for answer in answers]

    def judge(self, replies: Sequence[Reply]) -> list[Trial]:
        """Check replies by the rules, and score those that pass, all in one go."""
        trials: dict[Call, Trial] = {}
        texts: dict[Call, str] = {}
        seen: set[str] = set()
        for reply in replies:
            try:
                text = self._checked(reply, seen)
            except _UnusableError as error:
                trials[reply.call] = self._unusable(reply.call, error)
            else:
                texts[reply.call] = text
                seen.add(self.history.folded(text))
        try:
            scored = self._scored(texts)
        except EvaluationError as error:
            failed = _UnusableError(State.FAILED, "", str(error))
            scored = [
                self._unusable(call, replace(failed, text=text)) for call, text in texts.items()
            ]
        trials |= {trial.call: trial for trial in scored}
        return [trials[reply.call] for reply in replies]

    def _checked(self, reply: Reply, seen: Set[str]) -> str:
        """Give the text of a reply in its normal form.

        Raises:
            _UnusableError: there is none, it breaks a rule, or it was tried before.
        """
        if reply.text is None:
            raise _UnusableError(State.FAILED, "", reply.error or "no answer")
        text = self.rules.read(reply.text)
        try:
            text = self.rules.check(text)
        except RefusedError as error:
            raise _UnusableError(State.INVALID, text, str(error)) from error
        if text in self.history or self.history.folded(text) in seen:
            raise _UnusableError(State.INVALID, text, TRIED_BEFORE)
        return text

    def _scored(self, texts: Mapping[Call, str]) -> list[Trial]:
        if not texts:
            return []
        validations: Sequence[Score | None] = [None] * len(texts)
        with measured() as meter:
            scores = self.training.score(list(texts.values()))
            if self.validation is not None:
                validations = self.validation.score(list(texts.values()))
        # Only what is scored by itself asks language models.
        cost = meter.cost if meter.cost.calls else None
        return [
            self._trial(call, text, State.OK, score=score, validation=validation, cost=cost)
            for (call, text), score, validation in zip(
                texts.items(), scores, validations, strict=True
            )
        ]

    def _unusable(self, call: Call, error: _UnusableError) -> Trial:
        return self._trial(
            call,
            error.text,
            error.state,
            reason=error.reason,
            # A model that repeats itself works; there may just be little left to find.
            counts_as_failure=error.reason != TRIED_BEFORE,
        )

    def _trial(self, call: Call, text: str, state: State, **more: Any) -> Trial:
        return Trial(
            step=call[0], slot=call[1], predictor=self.name, text=text, state=state, **more
        )


@dataclass(frozen=True)
class _UnusableError(Exception):
    """A reply that is no use, with the state and the reason of its trial."""

    state: State
    text: str
    reason: str


def about_step(name: str, predictor: dspy.Predict, examples: Sequence[dspy.Example]) -> str:
    """Tell the prompt model what a language model's step is for; nothing of a CLIP template."""
    if isinstance(predictor, ZeroShotPredict):
        return ""
    signature = predictor.signature
    return describe_step(name, signature.input_fields, signature.output_fields, examples)


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
