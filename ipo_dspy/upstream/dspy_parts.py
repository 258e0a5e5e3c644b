"""The parts and inner texts of DSPy that it does not promise to keep: here, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy
from dspy.clients.base_lm import GLOBAL_HISTORY
from dspy.evaluate.evaluate import EvaluationResult
from dspy.utils.callback import with_callbacks
from dspy.utils.parallelizer import ParallelExecutor

try:
    from dspy.teleprompt.gepa import InstructionProposer
except ImportError:
    # DSPy 3.4.0, which differs in nothing else that is used here, has none.
    InstructionProposer = None
    import numpy

    # It also puts a stand-in for numpy in its place, which breaks scipy unless used first.
    _ = numpy.ndarray

__all__ = [
    "COMPLETED",
    "FIELD_LINE",
    "JSON_OUTPUTS",
    "MARKER",
    "NOTE",
    "OBJECTIVE",
    "OUTPUT_FIELDS",
    "RESPOND_WITH",
    "SCHEMA",
    "SECTION",
    "STRUCTURE",
    "EvaluationResult",
    "Executor",
    "InstructionProposer",
    "description_of",
    "forget",
    "is_empty_answer",
    "is_unknown_provider",
    "rows_of",
    "says_nothing",
    "show_table",
    "with_callbacks",
    "without_advice",
]

# How DSPy's ChatAdapter and JSONAdapter write a request, and want the answer.
COMPLETED = "[[ ## completed ## ]]"
FIELD_LINE = re.compile(r"^\d+\. `(\w+)` \((.*?)\): ?(.*)$", re.MULTILINE)
MARKER = re.compile(r"^\[\[ ## (\w+) ## \]\]$", re.MULTILINE)
SECTION = "[[ ## "
NOTE = "# note: the value you produce "
SCHEMA = "must adhere to the JSON schema: "
OUTPUT_FIELDS = "Your output fields are:\n"
STRUCTURE = "All interactions will be structured"
OBJECTIVE = "In adhering to this structure, your objective is:"
JSON_OUTPUTS = "Outputs will be a JSON object with the following fields."
RESPOND_WITH = "\n\nRespond with "

_EMPTY_ANSWER = "empty or null response"
_UNKNOWN_PROVIDER = "LLM Provider NOT provided"
_ADVICE = " To fix: "
_NO_INSTRUCTIONS = "Given the fields `"


def says_nothing(instructions: str) -> bool:
    """Tell whether these are the instructions DSPy gives a signature that has none."""
    return instructions.startswith(_NO_INSTRUCTIONS)


def description_of(name: str, field: Any) -> str:
    """What a field of a signature is described as; empty where nobody described it."""
    description: str = (field.json_schema_extra or {}).get("desc") or ""
    # Where nobody described a field, DSPy puts its name in braces there.
    return "" if description == f"${{{name}}}" else description


def is_empty_answer(error: Exception) -> bool:
    """Tell whether a model answered with nothing, which the message alone tells from others."""
    return _EMPTY_ANSWER in str(getattr(error, "message", ""))


def is_unknown_provider(error: BaseException) -> bool:
    """Tell whether nobody knows the provider of a model, for which there is no error of its own."""
    return _UNKNOWN_PROVIDER in str(error)


def without_advice(text: str) -> str:
    """The first part of an error's one-line text; what follows speaks of DSPy's own arguments."""
    return text.partition(_ADVICE)[0]


def forget(entry: Mapping[str, Any]) -> None:
    """Take an entry out of the history of all models."""
    GLOBAL_HISTORY[:] = [kept for kept in GLOBAL_HISTORY if kept is not entry]


def rows_of(
    evaluate: dspy.Evaluate, results: Sequence[Any], metric_name: str
) -> list[dict[str, Any]]:
    """The rows that `dspy.Evaluate` writes to files, from (example, prediction, value)."""
    rows: list[dict[str, Any]] = evaluate._prepare_results_output(results, metric_name)
    return rows


def show_table(
    evaluate: dspy.Evaluate, results: Sequence[Any], metric_name: str, rows: bool | int
) -> None:
    """Show the table that `dspy.Evaluate` shows, all of it or its first rows; needs pandas."""
    table = evaluate._construct_result_table(results, metric_name)
    evaluate._display_result_table(table, rows, metric_name)


class Executor(ParallelExecutor):
    """DSPy's executor, whose steps a subclass may change by names that stay."""

    def run_parallel(self, function: Callable[[Any], Any], data: Sequence[Any]) -> list[Any]:
        """Give what `function` makes of each item, in several threads."""
        results: list[Any] = super()._execute_parallel(function, data)
        return results

    def run_in_turn(self, function: Callable[[Any], Any], data: Sequence[Any]) -> list[Any]:
        """Give what `function` makes of each item, in this thread."""
        results: list[Any] = super()._execute_sequential(function, data)
        return results

    def keep(self, results: list[Any], place: int, outcome: Any) -> None:
        """Keep the outcome of one item, or count its failure."""
        super()._process_outcome(results, place, outcome)

    def report(self, bar: Any, results: Sequence[Any], total: int) -> None:
        """Tell the progress."""
        super()._report_progress(bar, results, total)

    def _execute_parallel(self, function: Callable[[Any], Any], data: Sequence[Any]) -> list[Any]:
        return self.run_parallel(function, data)

    def _execute_sequential(self, function: Callable[[Any], Any], data: Sequence[Any]) -> list[Any]:
        return self.run_in_turn(function, data)

    def _process_outcome(self, results: list[Any], place: int, outcome: Any) -> None:
        self.keep(results, place, outcome)

    def _report_progress(self, bar: Any, results: Sequence[Any], total: int) -> None:
        self.report(bar, results, total)
