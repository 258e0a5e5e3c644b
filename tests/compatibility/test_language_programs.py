"""IPO on programs of language-model predictors, with no CLIP in them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, Request, Response, Usage, response_to_events

from ipo_dspy import Budget, IPOOptimizer, LMDescriber
from ipo_dspy.errors import SearchStoppedError
from ipo_dspy.proposing.engine import texts, turns
from ipo_dspy.proposing.reading import Asked
from ipo_dspy.testing import ScriptedEngine, colour_examples, scripted_lm

Examples = list[dspy.Example]
AnsweringLM = Callable[..., dspy.LM]


class Obeying:
    """Answers "yes" where the instruction says "politely", and else "no"."""

    supported_params = ("temperature",)

    def __init__(self) -> None:
        self.calls = 0

    def complete(self, request: Request) -> Response:
        self.calls += 1
        conversation = turns(request)
        system = "\n".join(texts(conversation, "system"))
        asked = Asked.read(system, texts(conversation, "user")[-1])
        said = "yes" if "politely" in system else "no"
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(asked.write({f.name: said for f in asked.fields})),
            finish_reason="stop",
            usage=Usage(input_tokens=1, output_tokens=1, total_tokens=2),
        )

    def stream(self, request: Request) -> Iterator[object]:
        return iter(response_to_events(self.complete(request)))

    def close(self) -> None:
        """Nothing is held."""


class TwoSteps(dspy.Module):
    """Right where both steps say yes."""

    def __init__(self) -> None:
        super().__init__()
        self.think = dspy.ChainOfThought("question -> thought")
        self.answer = dspy.Predict("question, thought -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        thought = self.think(question=question).thought
        answer = self.answer(question=question, thought=thought).answer
        return dspy.Prediction(answer=answer, both=f"{thought} {answer}")


def exact(example: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> bool:
    return bool(example.answer == prediction.answer)


@pytest.fixture
def questions() -> Examples:
    return [dspy.Example(question=f"{n}?", answer="yes").with_inputs("question") for n in range(4)]


@pytest.fixture
def task() -> Iterator[dspy.LM]:
    lm = dspy.LM("task/model", engine=Obeying(), cache=False)
    with dspy.context(lm=lm):
        yield lm


def test_the_instruction_of_a_predictor_is_found(task: dspy.LM, questions: Examples) -> None:
    student = dspy.Predict("question -> answer")
    prompt_model = scripted_lm(["Answer rudely.", "Answer politely."])
    optimizer = IPOOptimizer(
        exact, prompt_model=prompt_model, steps=1, prompts_per_step=2, num_threads=1
    )
    best = optimizer.compile(student, trainset=questions)
    assert best.signature.instructions == "Answer politely."
    assert best.score == 100.0
    assert student.signature.instructions.startswith("Given the fields")
    first, rude, polite = best.detailed_results.trials
    assert (first.score.loss, rude.score.loss, polite.score.loss) == (1.0, 1.0, 0.0)


def test_requests_speak_of_instructions_not_of_templates(
    task: dspy.LM, questions: Examples
) -> None:
    prompt_model = scripted_lm(["Answer rudely.", "Answer politely."])
    IPOOptimizer(exact, prompt_model=prompt_model, steps=2, prompts_per_step=1).compile(
        dspy.Predict("question -> answer"), trainset=questions
    )
    for request in prompt_model.engine.requests:
        assert "<CLASS>" not in request
        assert "instruction that a language model follows" in request
    assert '"prompt": "Answer rudely."' in prompt_model.engine.requests[1]


def test_instructions_may_have_several_lines(task: dspy.LM, questions: Examples) -> None:
    text = "Answer the question.\n\n- Answer politely."
    optimizer = IPOOptimizer(exact, prompt_model=scripted_lm([text]), steps=1, prompts_per_step=1)
    best = optimizer.compile(dspy.Predict("question -> answer"), trainset=questions)
    assert best.signature.instructions == text


def test_several_predictors_are_searched_in_turn(
    task: dspy.LM, questions: Examples, tmp_path: Path
) -> None:
    def both(example: dspy.Example, prediction: dspy.Prediction) -> float:
        return prediction.both.split().count("yes") / 2

    optimizer = IPOOptimizer(
        both,
        prompt_model=scripted_lm(["Think politely.", "Answer politely."]),
        steps=2,
        prompts_per_step=1,
        run_dir=tmp_path,
    )
    best = optimizer.compile(TwoSteps(), trainset=questions)
    assert best.score == 100.0
    assert best.think.predict.signature.instructions == "Think politely."
    assert best.answer.signature.instructions == "Answer politely."
    best.save(tmp_path / "program.json")
    loaded = TwoSteps()
    loaded.load(tmp_path / "program.json")
    assert loaded(question="?").both == "yes yes"


def test_an_interrupted_search_goes_on(task: dspy.LM, questions: Examples, tmp_path: Path) -> None:
    def search(answers: list[str], steps: int) -> tuple[dspy.Module, dspy.LM]:
        prompt_model = scripted_lm(answers)
        optimizer = IPOOptimizer(
            exact, prompt_model=prompt_model, steps=steps, prompts_per_step=1, run_dir=tmp_path
        )
        best = optimizer.compile(dspy.Predict("question -> answer"), trainset=questions)
        return best, prompt_model

    search(["Answer rudely."], steps=1)
    calls = task.engine.calls
    best, prompt_model = search(["Answer politely."], steps=2)
    assert best.signature.instructions == "Answer politely."
    assert len(prompt_model.engine.requests) == 1
    assert task.engine.calls - calls == len(questions)


def test_a_candidate_that_breaks_the_program_is_failed_and_not_a_silent_0(
    task: dspy.LM, questions: Examples
) -> None:
    class Fragile(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.answer = dspy.Predict("question -> answer")

        def forward(self, question: str) -> dspy.Prediction:
            if "rudely" in self.answer.signature.instructions:
                raise RuntimeError("the program broke")
            return self.answer(question=question)

    prompt_model = scripted_lm(["Answer rudely.", "Answer politely."])
    optimizer = IPOOptimizer(
        exact, prompt_model=prompt_model, steps=1, prompts_per_step=2, num_threads=1
    )
    best = optimizer.compile(Fragile(), trainset=questions)
    broken = best.detailed_results.trials[1]
    assert broken.state == "failed"
    assert broken.reason.endswith("examples failed, the first with RuntimeError: the program broke")
    assert best.answer.signature.instructions == "Answer politely."


def test_an_example_on_which_the_metric_raises_counts_as_0(
    task: dspy.LM, questions: Examples
) -> None:
    def strict(example: dspy.Example, prediction: dspy.Prediction) -> float:
        if example.question == "0?":
            raise ValueError("not this one")
        return float(exact(example, prediction))

    optimizer = IPOOptimizer(
        strict, prompt_model=scripted_lm(["Answer politely."]), steps=1, prompts_per_step=1
    )
    best = optimizer.compile(dspy.Predict("question -> answer"), trainset=questions)
    assert best.score == 75.0


def test_a_program_that_fails_from_the_start_ends_the_search_before_it_costs_anything(
    task: dspy.LM, questions: Examples
) -> None:
    def broken(example: dspy.Example, prediction: dspy.Prediction) -> float:
        raise KeyError("nothing")

    prompt_model = scripted_lm(["Answer politely."])
    optimizer = IPOOptimizer(broken, prompt_model=prompt_model, max_errors=2, num_threads=1)
    with pytest.raises(SearchStoppedError, match="cannot be evaluated as it is: 2 of 4 examples"):
        optimizer.compile(dspy.Predict("question -> answer"), trainset=questions)
    assert prompt_model.engine.requests == []


def test_metrics_with_feedback_and_graded_metrics_work(task: dspy.LM, questions: Examples) -> None:
    def graded(
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: Any = None,
        pred_name: Any = None,
        pred_trace: Any = None,
    ) -> dspy.Prediction:
        score = 0.75 if exact(example, prediction) else 0.25
        return dspy.Prediction(score=score, feedback="so")

    optimizer = IPOOptimizer(
        graded, prompt_model=scripted_lm(["Answer politely."]), steps=1, prompts_per_step=1
    )
    best = optimizer.compile(dspy.Predict("question -> answer"), trainset=questions)
    assert best.score == 75.0
    assert best.detailed_results.best.score.loss == pytest.approx(0.25)


def test_pictures_among_the_inputs_are_described_where_the_user_asks(task: dspy.LM) -> None:
    examples = [
        dspy.Example(question="what?", picture=e.image, answer="yes").with_inputs(
            "question", "picture"
        )
        for e in colour_examples(1)[:2]
    ]
    prompt_model = scripted_lm(["Answer politely."])
    seer = dspy.LM(
        "seer/model",
        engine=ScriptedEngine(lambda number, text: f"scene {number}", field="description"),
        cache=False,
    )
    optimizer = IPOOptimizer(
        exact, prompt_model=prompt_model, describer=LMDescriber(seer), steps=1, prompts_per_step=1
    )
    program = dspy.Predict("question, picture: dspy.Image -> answer")
    best = optimizer.compile(program, trainset=examples)
    assert best.signature.instructions == "Answer politely."
    assert "Image 0: scene" in prompt_model.engine.requests[0]


def test_the_offline_proposer_writes_instructions_too(task: dspy.LM, questions: Examples) -> None:
    from ipo_dspy import offline_lm

    optimizer = IPOOptimizer(exact, prompt_model=offline_lm(), steps=1, prompts_per_step=3)
    best = optimizer.compile(dspy.Predict("question -> answer"), trainset=questions)
    assert len(best.detailed_results.prompts) > 1


@pytest.mark.parametrize("around", [dspy.BestOfN, dspy.Refine])
def test_programs_that_write_to_the_trace_work(
    around: Any, task: dspy.LM, questions: Examples
) -> None:
    class Inside(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.best = around(
                dspy.Predict("question -> answer"),
                N=2,
                reward_fn=lambda inputs, prediction: 1.0,
                threshold=1.0,
            )

        def forward(self, question: str) -> dspy.Prediction:
            return self.best(question=question)

    optimizer = IPOOptimizer(
        exact, prompt_model=scripted_lm(["Answer politely."]), steps=1, prompts_per_step=1
    )
    assert optimizer.compile(Inside(), trainset=questions).score == 100.0


@pytest.mark.parametrize("setting", [{}, {"disable_history": True}])
def test_calls_that_score_candidates_are_planned_counted_and_told_apart(
    task: dspy.LM, questions: Examples, setting: dict[str, Any]
) -> None:
    student = dspy.Predict("question -> answer")
    optimizer = IPOOptimizer(
        exact, prompt_model=scripted_lm(["Answer rudely.", "Be kind."]), steps=2, prompts_per_step=1
    )
    planned = optimizer.plan(student, trainset=questions)
    with dspy.context(**setting):
        best = optimizer.compile(student, trainset=questions)
    assert planned.scoring_calls == task.engine.calls == 12
    assert best.detailed_results.spent.scoring_calls == 12
    assert (best.total_calls, best.prompt_model_total_calls) == (14, 2)


def test_a_bound_on_calls_holds_for_those_that_score(task: dspy.LM, questions: Examples) -> None:
    answers = [f"Answer {n}." for n in range(9)]
    optimizer = IPOOptimizer(
        exact, prompt_model=scripted_lm(answers), prompts_per_step=1, budget=Budget(calls=14)
    )
    found = optimizer.compile(dspy.Predict("question -> answer"), trainset=questions)
    # Four for the initial instruction, and five for each proposal.
    assert found.detailed_results.spent.calls == 14
    assert found.detailed_results.ended_by.startswith("calls")


def test_a_resumed_search_counts_what_scoring_cost_before(
    task: dspy.LM, questions: Examples, tmp_path: Path
) -> None:
    def run(steps: int) -> dspy.Module:
        optimizer = IPOOptimizer(
            exact,
            prompt_model=scripted_lm(lambda number, request: f"Answer {number} {steps}."),
            steps=steps,
            prompts_per_step=2,
            run_dir=tmp_path,
        )
        return optimizer.compile(dspy.Predict("question -> answer"), trainset=questions)

    run(1)
    assert run(2).detailed_results.spent.calls == 4 + 4 * 5 == task.engine.calls + 4


def test_the_prompt_model_is_told_what_the_step_is_for(task: dspy.LM, questions: Examples) -> None:
    class Sum(dspy.Signature):
        """Add."""

        question: str = dspy.InputField(desc="a sum in words")
        answer: int = dspy.OutputField(desc="the number")

    prompt_model = scripted_lm(["Answer politely."])
    program = dspy.Module()
    program.adder = dspy.Predict(Sum)
    program.forward = program.adder
    IPOOptimizer(lambda e, p, trace=None: 0.5, prompt_model=prompt_model, steps=1).compile(
        program, trainset=questions
    )
    request = prompt_model.engine.requests[0]
    for fact in ("adder", "a sum in words", "answer (int): the number", "question = 0?"):
        assert fact in request
    assert "on one line" not in request


@pytest.mark.parametrize(
    "text",
    [
        "Of course you may be asked about physics: answer briefly.",
        "Put the answer inside <answer></answer> tags.",
        "Give code in a ```python fence.",
        '"Quoted" and **bold**',
        "Here is the rule:\n\n1. one number only",
    ],
)
def test_instructions_are_never_rewritten(task: dspy.LM, questions: Examples, text: str) -> None:
    optimizer = IPOOptimizer(exact, prompt_model=scripted_lm([text]), steps=1, prompts_per_step=1)
    best = optimizer.compile(dspy.Predict("question -> answer"), trainset=questions)
    trial = best.detailed_results.trials[1]
    assert (trial.state, trial.text) == ("ok", text)


def test_a_program_that_fails_on_every_example_begins_with_a_score_of_0(
    task: dspy.LM, questions: Examples, caplog: pytest.LogCaptureFixture
) -> None:
    class Picky(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.answer = dspy.Predict("question -> answer")

        def forward(self, question: str) -> dspy.Prediction:
            if "politely" not in self.answer.signature.instructions:
                raise RuntimeError("the program broke")
            return self.answer(question=question)

    optimizer = IPOOptimizer(
        exact, prompt_model=scripted_lm(["Answer politely."]), steps=1, prompts_per_step=1
    )
    best = optimizer.compile(Picky(), trainset=questions)
    first, second = best.detailed_results.trials
    assert (first.state, first.score.accuracy) == ("ok", 0.0)
    assert second.score.accuracy == 100.0
    assert "scores 0" in caplog.text
