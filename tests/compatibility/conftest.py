"""A colour world in which two words decide, language models that answer any DSPy request, and
the cheapest call of each of DSPy's optimizers."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, Request, Response, Usage, response_to_events
from dspy.teleprompt import BootstrapFewShotWithOptuna

from ipo_dspy import CLIPClassifier, IPOOptimizer, clip_acc, clip_prob
from ipo_dspy.proposing.engine import texts, turns
from ipo_dspy.proposing.reading import Asked, value_for
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples

Examples = list[dspy.Example]
BETTER = "a crisp photo of a <CLASS>."
QUIET = {"num_threads": 1, "display_progress": False}


class CountingEncoder(ColourEncoder):
    """Counts how often it is copied."""

    copies = 0

    def __deepcopy__(self, memo: object) -> "CountingEncoder":
        type(self).copies += 1
        return self


class Answering:
    """An engine that fills whatever field it is asked for, each with one text after the other."""

    supported_params = ("temperature", "max_tokens", "n")

    def __init__(self, answers: Sequence[str]) -> None:
        self.requests: list[str] = []
        self._answers = list(answers)
        self._given: Counter[tuple[str, ...]] = Counter()

    def complete(self, request: Request) -> Response:
        conversation = turns(request)
        system = "\n".join(texts(conversation, "system"))
        user = texts(conversation, "user")[-1]
        self.requests.append(f"{system}\n{user}")
        asked = Asked.read(system, user)
        kind = tuple(field.name for field in asked.fields)
        answer = self._answers[self._given[kind] % len(self._answers)]
        self._given[kind] += 1
        values = {f.name: self._value(f.name, f.note, answer, asked) for f in asked.fields}
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(asked.write(values) if values else f"```\n{answer}\n```"),
            finish_reason="stop",
            usage=Usage(input_tokens=5, output_tokens=5, total_tokens=10),
        )

    def _value(self, name: str, note: str, answer: str, asked: Asked) -> Any:
        if name == "module_advice":
            return dict.fromkeys(["predict", "self", "clip"], answer)
        return value_for(note, lambda: answer, None) if note else answer

    def stream(self, request: Request) -> Iterator[object]:
        return iter(response_to_events(self.complete(request)))

    def close(self) -> None:
        """Nothing is held."""

    def __deepcopy__(self, memo: object) -> "Answering":
        return self


def _answering(*answers: str) -> dspy.LM:
    return dspy.LM("scripted/any", engine=Answering(answers), cache=False)


@pytest.fixture
def answering_lm() -> Callable[..., dspy.LM]:
    """Make a language model that gives these answers, whatever field is asked for."""
    return _answering


@pytest.fixture
def lm() -> dspy.LM:
    """Proposes a bad template, a good one, and what is no template."""
    return _answering("a blurred photo of a <CLASS>.", BETTER, "Look closely at the picture.")


@pytest.fixture
def encoder() -> CountingEncoder:
    CountingEncoder.copies = 0
    return CountingEncoder()


@pytest.fixture
def program(encoder: CountingEncoder) -> CLIPClassifier:
    return CLIPClassifier(list(COLOURS), encoder)


@pytest.fixture
def trainset() -> list[dspy.Example]:
    return colour_examples(2)


@pytest.fixture
def accuracy(trainset: list[dspy.Example]) -> Callable[[dspy.Module], float]:
    """How many training pictures a program gets right, in percent."""

    def measure(program: dspy.Module) -> float:
        return float(dspy.Evaluate(devset=trainset, metric=clip_acc, **QUIET)(program).score)

    return measure


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep DSPy's own progress out of the test report."""
    logger = logging.getLogger("dspy")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


def labeled(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    return dspy.LabeledFewShot(k=4).compile(student, trainset=trainset)


def bootstrap(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    return dspy.BootstrapFewShot(metric=clip_acc).compile(student, trainset=trainset)


def random_search(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=clip_acc, num_candidate_programs=2, num_threads=1
    )
    return optimizer.compile(student, trainset=trainset)


def optuna(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    optimizer = BootstrapFewShotWithOptuna(metric=clip_acc, num_candidate_programs=2, num_threads=1)
    return optimizer.compile(student, trainset=trainset, valset=trainset, max_demos=2)


def copro(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    optimizer = dspy.COPRO(metric=clip_acc, breadth=4, depth=2, track_stats=True)
    return optimizer.compile(student, trainset=trainset, eval_kwargs=QUIET)


def _miprov2(lm: dspy.LM, **settings: Any) -> dspy.MIPROv2:
    return dspy.MIPROv2(metric=clip_acc, prompt_model=lm, task_model=lm, num_threads=1, **settings)


def miprov2_zero_shot(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    return _miprov2(lm, auto=None, num_candidates=3).compile(
        student,
        trainset=trainset,
        valset=trainset,
        num_trials=4,
        max_bootstrapped_demos=0,
        max_labeled_demos=0,
        minibatch=False,
    )


def miprov2_few_shot(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    return _miprov2(lm, auto=None, num_candidates=3).compile(
        student, trainset=trainset, valset=trainset, num_trials=4, minibatch=False
    )


def miprov2_auto(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    return _miprov2(lm, auto="light").compile(student, trainset=trainset, valset=trainset)


def gepa(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    optimizer = dspy.GEPA(
        metric=clip_acc, reflection_lm=lm, max_metric_calls=120, num_threads=1, track_stats=True
    )
    return optimizer.compile(student, trainset=trainset, valset=trainset)


def simba(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    optimizer = dspy.SIMBA(
        metric=clip_prob, prompt_model=lm, bsize=6, num_candidates=3, max_steps=2, num_threads=1
    )
    return optimizer.compile(student, trainset=trainset, seed=0)


def infer_rules(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    optimizer = dspy.InferRules(metric=clip_acc, num_candidates=3, num_rules=2, num_threads=1)
    return optimizer.compile(student, trainset=trainset, valset=trainset)


def better_together(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    student = student.deepcopy()
    student.set_lm(lm)
    optimizer = dspy.BetterTogether(
        metric=clip_acc,
        ipo=IPOOptimizer(clip_acc, prompt_model=lm, steps=1),
        copro=dspy.COPRO(metric=clip_acc, breadth=3, depth=1),
    )
    best = optimizer.compile(
        student,
        trainset=list(trainset),
        valset=trainset,
        strategy="copro -> ipo",
        optimizer_compile_args={"copro": {"eval_kwargs": QUIET}},
    )
    assert not best.flag_compilation_error_occurred
    assert {c["strategy"] for c in best.candidate_programs} == {"", "copro", "copro -> ipo"}
    return best


def ipo(student: dspy.Module, trainset: Examples, lm: dspy.LM) -> dspy.Module:
    return IPOOptimizer(clip_acc, steps=2, prompts_per_step=2).compile(student, trainset=trainset)


OPTIMIZERS = {
    function.__name__: function
    for function in (
        labeled,
        bootstrap,
        random_search,
        optuna,
        copro,
        miprov2_zero_shot,
        miprov2_few_shot,
        miprov2_auto,
        gepa,
        simba,
        infer_rules,
        better_together,
        ipo,
    )
}


@pytest.fixture
def optimize(request: pytest.FixtureRequest, lm: dspy.LM) -> Callable[..., dspy.Module]:
    """The optimizer that the test is parametrized with, asking `lm` unless told otherwise."""
    function = OPTIMIZERS[request.param]

    def run(student: dspy.Module, trainset: Examples, other_lm: dspy.LM = lm) -> dspy.Module:
        with dspy.context(lm=other_lm):
            return function(student, trainset, other_lm)

    return run


@pytest.fixture
def optimizers() -> dict[str, Callable[..., dspy.Module]]:
    """All of them by name; each takes a student, a training set and the language model in use."""
    return OPTIMIZERS
