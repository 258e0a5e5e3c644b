"""Candidate programs evaluated as `dspy.Evaluate` does it, but batched where a program can."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy
from dspy.evaluate.evaluate import EvaluationResult
from dspy.utils.callback import with_callbacks
from dspy.utils.parallelizer import ParallelExecutor

from ipo_dspy.data.examples import image_of
from ipo_dspy.errors import brief

CANDIDATE = "eval_full"
"""What DSPy's own optimizers call the score of a candidate, for MLflow to log."""


class EvaluationError(RuntimeError):
    """A program could not be evaluated: too many examples failed."""


class ProgramEvaluate(dspy.Evaluate):
    """`dspy.Evaluate` that predicts in one batch where `has_batched_forward` allows it.

    Examples on which the program or the metric raises count as `failure_score` and are logged, as
    with `dspy.Evaluate`. Where `max_errors` or all of them do, an `EvaluationError` names the first
    error. Takes the arguments of `dspy.Evaluate`.
    """

    @with_callbacks
    def __call__(
        self,
        program: dspy.Module,
        metric: Callable[..., Any] | None = None,
        devset: Sequence[dspy.Example] | None = None,
        num_threads: int | None = None,
        callback_metadata: Mapping[str, Any] | None = None,
    ) -> EvaluationResult:
        """Evaluate a program on the examples; see `dspy.Evaluate`.

        Raises:
            EvaluationError: too many examples failed.
        """
        examples = self.devset if devset is None else devset
        score = metric or self.metric
        batch = has_batched_forward(program)
        known = _predict_at_once(program, examples) if batch else {}
        executor = _Executor(
            # The work that is left in a batch is the metric; threads would only slow it down.
            num_threads=num_threads or self.num_threads or (1 if batch else None),
            max_errors=len(examples) + 1,
            disable_progress_bar=True,
        )
        most = min(len(examples), self.max_errors or dspy.settings.max_errors)

        def run(example: dspy.Example) -> tuple[Any, float] | None:
            if executor.error_count >= most:
                return None
            prediction = known[id(example)] if batch else program(**example.inputs())
            return prediction, _number(score(example, prediction))

        outcomes = executor.execute(run, examples)
        if executor.error_count >= most:
            first = executor.exceptions_map[min(executor.exceptions_map)]
            raise EvaluationError(
                f"{executor.error_count} of {len(examples)} examples failed, the first with "
                f"{brief(first)}"
            )
        failed = (dspy.Prediction(), self.failure_score)
        pairs = zip(examples, outcomes, strict=True)
        results = [(example, *(outcome or failed)) for example, outcome in pairs]
        mean = math.fsum(value for *_, value in results) / len(results)
        return EvaluationResult(score=round(100 * mean, 2), results=results)


class KnownEvaluate(dspy.Evaluate):
    """Lets DSPy's callbacks see an evaluation that is done elsewhere.

    Args:
        work: gives the score in percent.
        devset: the examples.
        metric: the metric.
    """

    def __init__(
        self,
        work: Callable[[], float],
        devset: Sequence[dspy.Example],
        metric: Callable[..., Any],
    ) -> None:
        super().__init__(devset=list(devset), metric=metric)
        self._work = work

    @with_callbacks
    def __call__(
        self, program: dspy.Module, callback_metadata: Mapping[str, Any] | None = None
    ) -> EvaluationResult:
        """Do the work; the result lists no examples."""
        return EvaluationResult(score=round(self._work(), 2), results=[])


def has_batched_forward(program: dspy.Module) -> bool:
    """Tell whether `predict_batch` does what `forward` does.

    A subclass that overrides `forward` alone has changed what the program means, and the batched
    method that it inherits knows nothing of it; so has an optimizer that put a `forward` of its own
    into the program.
    """
    owners = [cls for cls in type(program).__mro__ if "forward" in vars(cls)]
    batched = [cls for cls in type(program).__mro__ if "predict_batch" in vars(cls)]
    own = "forward" in vars(program)
    return bool(not own and batched and owners and issubclass(batched[0], owners[0]))


class _Executor(ParallelExecutor):
    def _report_progress(self, *_: object) -> None:
        """Nothing: DSPy goes through all results for each one, and nobody sees the bar."""


def _predict_at_once(
    program: dspy.Module, examples: Sequence[dspy.Example]
) -> dict[int, dspy.Prediction]:
    """The prediction for each example, by the example's identity."""
    predictions = program.predict_batch([_image(example) for example in examples])
    return {id(e): prediction for e, prediction in zip(examples, predictions, strict=True)}


def _image(example: dspy.Example) -> object:
    found = image_of(example)
    return next(iter(example.inputs().values())) if found is None else found


def _number(value: Any) -> float:
    number = float(value.score if isinstance(value, dspy.Prediction) else value)
    if not math.isfinite(number):
        raise ValueError(f"the metric gave {number}; expected a finite number")
    return number
