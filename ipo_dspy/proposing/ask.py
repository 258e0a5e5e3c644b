"""One question to a language model: its answer, or the error that came instead."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import dspy
from dspy.utils.exceptions import (
    AdapterParseError,
    ContextWindowExceededError,
    LMError,
    LMProviderError,
    LMUnsupportedFeatureError,
)

from ipo_dspy.errors import OutOfTimeError, stop
from ipo_dspy.prompts.rules import without_reasoning
from ipo_dspy.proposing.faults import stop_if_hopeless
from ipo_dspy.runs.calls import call, seconds_left, within
from ipo_dspy.runs.masking import brief, mask_own
from ipo_dspy.upstream.dspy_parts import is_empty_answer
from ipo_dspy.upstream.transport_parts import watched

logger = logging.getLogger(__name__)

NO_ANSWER = "it gave no answer"
MOST_CHARACTERS = 2**16
"""A longer answer is none: it is neither kept nor shown."""
MOST_BYTES = 2**24
"""So much is read of what a server sends as one answer, the model's reasoning included."""
_BAD_REQUEST = (400, 422)
_OFTEN_REFUSED = ("seed", "temperature")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_MOST_REMEMBERED = 2 * MOST_CHARACTERS
"""Longer answers would fill the memory that DSPy's histories share."""
# What servers and clients say of a refusal without saying what was wrong.
_SAYS_NOTHING = re.compile(
    r"(?:<[^>]*>|\b(?:https?|error|code|status|bad|request|unprocessable|entity|content|detail|"
    r"message|title|litellm\.\w+|openaiexception|no|none|null|4\d\d)\b|[\W_])*",
    re.IGNORECASE,
)


class Answer(NamedTuple):
    """A text, or the error that came instead of one; `may_pass` says that asking again may help."""

    text: str | None = None
    error: str | None = None
    may_pass: bool = False
    pause: float | None = None
    """How many seconds the server asks to wait."""


class Endpoint:
    """A language model, asked in bounded time and only with what it takes.

    One question takes at most the model's `timeout` in total, whatever its server does: hang, send
    byte after byte, or ask to wait. What may pass is asked again within that time, as often as
    `num_retries` says. Parameters that the model refuses are left out from then on.

    Args:
        lm: the language model.
    """

    def __init__(self, lm: dspy.BaseLM) -> None:
        self.lm = lm
        self._refused: set[str] = set()
        self._lock = threading.Lock()

    def ask(
        self,
        module: dspy.Module,
        field: str,
        inputs: Mapping[str, Any],
        parameters: Mapping[str, Any],
        on_retry: Callable[[str], None] = lambda reason: None,
    ) -> Answer:
        """Call a module with the language model and take one field of what it gives.

        An answer that misses the format is taken as it is: small models often answer well but
        without it. So DSPy's usual adapter makes no second call for JSON; a configured adapter
        does as it does. An answer of more than `MOST_CHARACTERS` is an error.

        Args:
            module: what makes the request.
            field: the output field to take.
            inputs: for the module.
            parameters: of the call; those that the model refuses are left out.
            on_retry: told the reason before the question is asked again.

        Raises:
            SearchStoppedError: no call of this language model can succeed.
            OutOfTimeError: the time of the run is up.
        """
        timeout = self.lm.kwargs.get("timeout")
        seconds = timeout if isinstance(timeout, int | float) else None
        try:
            with within(seconds):
                return self._ask(module, field, inputs, parameters, on_retry)
        except OutOfTimeError:
            if seconds is None or seconds_left() == 0.0:
                raise
            return Answer(error=f"it timed out after {seconds:g} seconds", may_pass=True)

    def _ask(
        self,
        module: dspy.Module,
        field: str,
        inputs: Mapping[str, Any],
        parameters: Mapping[str, Any],
        on_retry: Callable[[str], None],
    ) -> Answer:
        retries = 0
        while (answer := self._attempt(module, field, inputs, parameters)).may_pass:
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**retries)
            pause = pause if answer.pause is None else answer.pause
            left = seconds_left()
            if retries >= self.lm.num_retries:
                break
            if left is not None and pause >= left:
                waits = f"{answer.error}; there is no time to wait {pause:g} seconds and ask again"
                return answer._replace(error=waits)
            on_retry(str(answer.error))
            time.sleep(pause)
            retries += 1
        return answer

    def _attempt(
        self,
        module: dspy.Module,
        field: str,
        inputs: Mapping[str, Any],
        parameters: Mapping[str, Any],
    ) -> Answer:
        accepted = {n: None if n in self._refused else value for n, value in parameters.items()}
        lm = self.lm.copy(**accepted)
        # DSPy would wait for as long as a server asks, and leave no trace of it.
        lm.num_retries = 0
        try:
            answer = call(partial(_call, lm, module, dict(inputs)))
        except OutOfTimeError:
            raise
        # A user's language model or proposer may raise anything; failures in a row end a search.
        except Exception as error:  # noqa: BLE001
            if self._leave_out(error, accepted):
                return self._attempt(module, field, inputs, parameters)
            stop_if_hopeless(error, self.lm)
            return _failed(error, self.lm)
        finally:
            self._take_history(lm, accepted)
        if not isinstance(answer, Answer):
            value = _field(answer, field)
            answer = Answer(error=NO_ANSWER) if value is None else Answer(text=str(value))
        return self._kept(answer)

    def _kept(self, answer: Answer) -> Answer:
        """What may be kept of an answer: a text of bounded size without secrets."""
        if answer.text is None:
            return answer
        if not answer.text.strip():
            return Answer(error=NO_ANSWER, may_pass=True)
        if len(answer.text) > MOST_CHARACTERS:
            return Answer(
                error=f"its answer has {len(answer.text):,} characters, more than the "
                f"{MOST_CHARACTERS:,} that are read"
            )
        return answer._replace(text=mask_own(answer.text, self.lm))

    def _leave_out(self, error: Exception, parameters: Mapping[str, Any]) -> bool:
        """Tell whether parameters of a call were refused; they are left out from now on."""
        given = {name for name in _OFTEN_REFUSED if parameters.get(name) is not None}
        refused = given & _refused_parameters(error, given)
        with self._lock:
            new = refused - self._refused
            self._refused |= new
        for name in sorted(new):
            logger.warning(
                "%r refuses the parameter %s and is asked without it from now on: %s.",
                self.lm.model,
                name,
                brief(error, self.lm).rstrip("."),
            )
        return bool(refused)

    def _take_history(self, lm: dspy.BaseLM, parameters: Mapping[str, Any]) -> None:
        """Give the model the history of its copy, which had its own while others were out."""
        if dspy.settings.disable_history:
            return
        for entry in lm.history:
            entry["kwargs"] = {**parameters, **entry["kwargs"]}
            if sum(len(str(output)) for output in entry["outputs"]) > _MOST_REMEMBERED:
                entry.update(outputs=[], response=None)
        self.lm.history.extend(lm.history)


def _field(answer: object, field: str) -> Any:
    """What was asked for.

    Raises:
        SearchStoppedError: a proposer or describer of the user's gives something else.
    """
    if not hasattr(answer, field):
        keys = ", ".join(answer.keys()) if isinstance(answer, dspy.Prediction) else ""
        stop(
            f"Expected a dspy.Prediction with the field {field!r} of what is asked, got a "
            f"{type(answer).__name__}{f' with {keys}' if keys else ''}; give it a signature with "
            f"that output field."
        )
    return getattr(answer, field)


class _AnswerAdapter(dspy.ChatAdapter):
    """Reads the answer alone: what a model thought before may hold drafts in the format asked."""

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """Parse what comes after the reasoning."""
        fields: dict[str, Any] = super().parse(signature, without_reasoning(completion))
        return fields


def _call(lm: dspy.BaseLM, module: dspy.Module, inputs: Mapping[str, Any]) -> Any:
    """What a module gives, or an `Answer` where no prediction can be made of what came."""
    adapter = dspy.settings.adapter or _AnswerAdapter(use_json_adapter_fallback=False)
    # Modules such as `dspy.BestOfN` write to the trace, so there has to be one.
    with dspy.context(lm=lm, adapter=adapter, trace=[]), watched(_check_size):
        try:
            prediction = module(**inputs)
        except AdapterParseError as error:
            if is_empty_answer(error):
                return Answer(error=NO_ANSWER, may_pass=True)
            return Answer(text=error.lm_response)
    # Of a response without choices, DSPy makes a prediction without fields.
    if isinstance(prediction, dspy.Prediction) and not prediction.keys():
        return Answer(error=NO_ANSWER, may_pass=True)
    return prediction


def _check_size(size: int) -> None:
    """End the reading of what is too long to be an answer, or comes when nobody waits any more.

    Raises:
        OSError: so many bytes are too many.
        OutOfTimeError: the time is up.
    """
    if size > MOST_BYTES:
        raise OSError(f"its answer has more than the {MOST_BYTES:,} bytes that are read")
    if seconds_left() == 0.0:
        raise OutOfTimeError("the time is up")


def _failed(error: Exception, lm: dspy.BaseLM) -> Answer:
    passing = isinstance(error, LMError | OSError)
    status = getattr(error, "status", None)
    shown = f" (HTTP {status}, without a reason that DSPy passes on)" if status else ""
    return Answer(
        error=brief(error, lm) + ("" if getattr(error, "message", "") else shown),
        may_pass=passing and not isinstance(error, ContextWindowExceededError),
        pause=getattr(error, "retry_after", None),
    )


def _refused_parameters(error: Exception, given: set[str]) -> set[str]:
    """The parameters of a call, among those given, that an error says a model does not take."""
    if isinstance(error, LMUnsupportedFeatureError):
        return {name for name in given if any(name in feature for feature in error.features)}
    if not isinstance(error, LMProviderError) or error.status not in _BAD_REQUEST:
        return set()
    if _SAYS_NOTHING.fullmatch(error.message):
        # Of a reason in a form of the server's own, DSPy passes nothing on: try what is likeliest.
        return {next((name for name in _OFTEN_REFUSED if name in given), "")}
    return {name for name in given if re.search(rf"\b{name}\b", error.message)}
