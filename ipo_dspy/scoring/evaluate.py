"""`dspy.Evaluate`, batched where a program can be."""

from __future__ import annotations

import csv
import json
import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from operator import index
from pathlib import Path
from types import FunctionType
from typing import Any

import dspy
import tqdm

from ipo_dspy.errors import ArgumentError, EvaluationError, LabelError, MetricError, StorageError
from ipo_dspy.errors.arguments import Count, Natural, checked, shown
from ipo_dspy.images.examples import image_of
from ipo_dspy.programs.metrics import Metric, TensorMetric
from ipo_dspy.programs.predict import zero_shot_predictors
from ipo_dspy.runs.calls import Calls, seconds_left
from ipo_dspy.runs.masking import brief
from ipo_dspy.upstream.dspy_parts import (
    EvaluationResult,
    Executor,
    rows_of,
    show_table,
    with_callbacks,
)

logger = logging.getLogger(__name__)

CANDIDATE = "eval_full"
"""What DSPy's own optimizers call the score of a candidate, for MLflow to log."""


@checked
class BatchEvaluate(dspy.Evaluate):
    """`dspy.Evaluate` that predicts in one batch where `has_batched_forward` allows it.

    Takes the arguments of `dspy.Evaluate` and gives what it gives. Examples on which the program
    or the metric raises, or the metric gives no finite number, count as `failure_score` and are
    logged; `max_errors` of them end the evaluation. If the batch fails, examples are predicted one
    by one, so that only those fail that must. Tensor metrics run in one thread, where they are
    fastest; other metrics in `num_threads`.
    """

    def __init__(
        self,
        *,
        devset: Sequence[dspy.Example],
        metric: Metric | None = None,
        num_threads: Count | None = None,
        display_progress: bool = False,
        display_table: bool | Natural = False,
        max_errors: Natural | None = None,
        provide_traceback: bool | None = None,
        failure_score: float = 0.0,
        save_as_csv: str | Path | None = None,
        save_as_json: str | Path | None = None,
    ) -> None:
        super().__init__(
            devset=devset,
            metric=metric,
            num_threads=num_threads,
            display_progress=display_progress,
            display_table=display_table,
            max_errors=max_errors,
            provide_traceback=provide_traceback,
            failure_score=failure_score,
            save_as_csv=save_as_csv,
            save_as_json=save_as_json,
        )

    @checked
    @with_callbacks
    def __call__(
        self,
        program: dspy.Module,
        metric: Metric | None = None,
        devset: Sequence[dspy.Example] | None = None,
        num_threads: Count | None = None,
        display_progress: bool | None = None,
        display_table: bool | Natural | None = None,
        callback_metadata: Mapping[str, Any] | None = None,
        save_as_csv: str | Path | None = None,
        save_as_json: str | Path | None = None,
    ) -> EvaluationResult:
        """Evaluate a program on the examples; see `dspy.Evaluate`.

        Raises:
            ArgumentError: there are no examples.
            LabelError: a label is none of the class names.
            EvaluationError: too many examples failed; the message has the first error.
        """
        examples = self.devset if devset is None else devset
        if not examples:
            raise ArgumentError("Expected at least one example to evaluate on, got none.")
        score = metric or self.metric
        if score is None:
            raise ArgumentError("BatchEvaluate needs metric, such as clip_acc; got None.")
        progress = self.display_progress if display_progress is None else display_progress
        values = self._values(program, score, examples, num_threads or self.num_threads, progress)
        failed = (dspy.Prediction(), self.failure_score)
        results = [
            (example, *(value or failed)) for example, value in zip(examples, values, strict=True)
        ]
        percent = 100 * sum(number_of(value) for *_, value in results) / len(results)
        logger.info("Average metric of %d examples: %.1f %%", len(results), percent)
        self._show(results, _name(score), display_table)
        self._save(results, _name(score), save_as_csv, save_as_json)
        return EvaluationResult(score=round(percent, 2), results=results)

    def _values(
        self,
        program: dspy.Module,
        metric: Callable[..., Any],
        examples: Sequence[dspy.Example],
        num_threads: int | None,
        progress: bool,
    ) -> list[tuple[dspy.Prediction, Any] | None]:
        """Prediction and value for each example; None where one of them failed."""
        known = self._predict_at_once(program, examples)
        if known is not None:
            num_threads = 1 if isinstance(metric, TensorMetric) else num_threads or 1
        executor = _Executor(
            num_threads=num_threads,
            max_errors=len(examples) + 1,
            disable_progress_bar=not progress,
            provide_traceback=self.provide_traceback,
        )
        most = dspy.settings.max_errors if self.max_errors is None else self.max_errors

        failed_in_metric: set[int] = set()
        wrong_labels: list[LabelError] = []

        def run(example: dspy.Example) -> tuple[dspy.Prediction, Any] | None:
            if executor.error_count >= most or wrong_labels:
                return None
            prediction = program(**example.inputs()) if known is None else known[id(example)]
            try:
                value = metric(example, prediction)
                number_of(value)
            except LabelError as error:
                wrong_labels.append(error)
                return None
            except Exception:
                failed_in_metric.add(id(example))
                raise
            return prediction, value

        values: list[tuple[dspy.Prediction, Any] | None] = executor.execute(run, examples)
        if wrong_labels:
            raise wrong_labels[0]
        if executor.error_count >= most:
            first = executor.exceptions_map[min(executor.exceptions_map)]
            by_metric = len(failed_in_metric) >= executor.error_count
            raise (MetricError if by_metric else EvaluationError)(
                f"{executor.error_count} of {len(examples)} examples failed, the first with "
                f"{brief(first)}"
            ) from first
        return values

    def _predict_at_once(
        self, program: dspy.Module, examples: Sequence[dspy.Example]
    ) -> dict[int, dspy.Prediction] | None:
        """The prediction for each example, by the example's identity; None where they fail."""
        if not has_batched_forward(program):
            return None
        executor = _Executor(
            num_threads=1,
            max_errors=2,
            disable_progress_bar=True,
            provide_traceback=self.provide_traceback,
        )
        batch = f"the batch of {len(examples)} examples, which are now predicted one by one"
        [predictions] = executor.execute(
            lambda _: program.predict_batch([_image(example) for example in examples]), [batch]
        )
        if predictions is None:
            return None
        return {id(e): prediction for e, prediction in zip(examples, predictions, strict=True)}

    def _show(
        self, results: Sequence[Any], metric_name: str, display_table: bool | int | None
    ) -> None:
        rows = self.display_table if display_table is None else display_table
        rows = rows if isinstance(rows, bool) else index(rows)
        if rows and find_spec("pandas") is None:
            logger.warning("The table is not shown: it needs pandas, which is not installed.")
        elif rows:
            show_table(self, results, metric_name, rows)

    def _save(
        self,
        results: Sequence[Any],
        metric_name: str,
        save_as_csv: str | Path | None,
        save_as_json: str | Path | None,
    ) -> None:
        as_csv, as_json = save_as_csv or self.save_as_csv, save_as_json or self.save_as_json
        if not as_csv and not as_json:
            return
        rows = rows_of(self, results, metric_name)
        try:
            if as_csv:
                with Path(as_csv).open("w", newline="") as file:
                    writer = csv.DictWriter(file, fieldnames=rows[0].keys())
                    writer.writeheader()
                    writer.writerows(rows)
            if as_json:
                Path(as_json).write_text(json.dumps(rows))
        except OSError as error:
            raise StorageError(
                f"The evaluation cannot be written to {error.filename}: {error.strerror}."
            ) from error


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
    into the program. The same goes for each zero-shot predictor in the program.
    """
    modules = (program, *zero_shot_predictors(program).values())
    return all(_is_batched(module) for module in modules)


def _is_batched(module: dspy.Module) -> bool:
    owners = [cls for cls in type(module).__mro__ if "forward" in vars(cls)]
    batched = [cls for cls in type(module).__mro__ if "predict_batch" in vars(cls)]
    own = "forward" in vars(module)
    return bool(not own and batched and owners and issubclass(batched[0], owners[0]))


def number_of(value: Any) -> float:
    """The number that a metric gave, by itself or as the `score` of a prediction.

    Raises:
        ArgumentError: it gave something else, infinity or not a number.
    """
    told = value.get("score") if isinstance(value, dspy.Prediction) else value
    try:
        number = float(told)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # The last of several numbers.
        number = math.nan
    if not math.isfinite(number):
        came = shown(value) if told is value else "a Prediction whose score is " + shown(told)
        raise ArgumentError(f"the metric gave {came}; let it return a finite number")
    return number


class _Executor(Executor):
    """Tells the progress without going through all results for each one, as DSPy's does.

    Nor is a call that hangs waited for when an evaluation is interrupted or out of time.
    """

    _sum = 0.0
    _count = 0

    def run_parallel(self, function: Callable[[Any], Any], data: Sequence[Any]) -> list[Any]:
        results: list[Any] = [None] * len(data)
        with Calls[Any](self.num_threads) as calls, self._progress_bar(len(data)) as bar:
            out = {calls.submit(partial(function, item)): place for place, item in enumerate(data)}
            while out:
                for future in calls.wait(out.keys()):
                    self.keep(results, out.pop(future), future.result())
                    self.report(bar, results, len(data))
        return results

    def run_in_turn(self, function: Callable[[Any], Any], data: Sequence[Any]) -> list[Any]:
        if seconds_left() is not None:
            return self.run_parallel(function, data)
        return super().run_in_turn(function, data)

    def _progress_bar(self, total: int) -> Any:
        return tqdm.tqdm(
            total=total, dynamic_ncols=True, disable=self.disable_progress_bar, file=sys.stdout
        )

    def keep(self, results: list[Any], idx: int, outcome: Any) -> None:
        super().keep(results, idx, outcome)
        if isinstance(outcome, tuple):
            self._sum += number_of(outcome[1])
            self._count += 1

    def report(self, pbar: Any, results: Sequence[Any], total: int) -> None:
        if not pbar.disable:
            percent = 100 * self._sum / max(1, self._count)
            told = f"Average Metric: {self._sum:.2f} / {self._count} ({percent:.1f}%)"
            pbar.set_description(told, refresh=False)
            pbar.update()


def _image(example: dspy.Example) -> object:
    found = image_of(example)
    return next(iter(example.inputs().values())) if found is None else found


def _name(metric: Callable[..., Any]) -> str:
    return metric.__name__ if isinstance(metric, FunctionType) else type(metric).__name__
