import dspy

from ipo_dspy.records import Score, State, Trial
from ipo_dspy.runs.budget import Spent
from ipo_dspy.scoring.ranking import Ranking
from ipo_dspy.search.results import CANDIDATE_PROGRAMS, IPOResults, attach_results, detach_results


def trial(step: int, predictor: str, text: str, accuracy: float | None) -> Trial:
    if accuracy is None:
        return Trial(step=step, slot=0, predictor=predictor, text=text, state=State.INVALID)
    score = Score(accuracy=accuracy, loss=1.0, n=1)
    return Trial(step=step, slot=0, predictor=predictor, text=text, state=State.OK, score=score)


def results(*trials: Trial) -> IPOResults:
    best = max((t for t in trials if t.score), key=Ranking(fitted=False).key)
    return IPOResults(trials, best, Spent(calls=7), "steps: 3 made")


class Chain(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = dspy.Predict("question -> draft")
        self.second = dspy.Predict("draft -> answer")


def texts(program: dspy.Module) -> tuple[str, str]:
    return (program.first.signature.instructions, program.second.signature.instructions)


def test_prompts_are_listed_best_first_and_without_refused_ones() -> None:
    found = results(
        trial(0, "p", "initial", 10), trial(1, "p", "bad", None), trial(2, "p", "good", 90)
    )
    assert found.prompts == ["good", "initial"]


def test_a_candidate_program_is_what_was_scored() -> None:
    found = results(
        trial(0, "first", "a", 10),
        trial(0, "second", "b", 10).model_copy(update={"slot": 1}),
        trial(1, "first", "a1", 30),
        trial(2, "second", "b1", 20),
        trial(3, "first", "a2", 40),
        trial(4, "second", "b2", 50),
    )
    program = Chain()
    attach_results(program, found)
    assert [(c["score"], *texts(c["program"])) for c in program.candidate_programs] == [
        (50, "a2", "b2"),
        (40, "a2", "b"),
        (30, "a1", "b"),
        (20, "a1", "b1"),
        (10, "a", "b"),
        (10, "a", "b"),
    ]
    assert (program.score, program.total_calls) == (50, 7)


def test_only_the_best_prompts_come_as_programs() -> None:
    program = Chain()
    attach_results(program, results(*(trial(n, "first", str(n), n) for n in range(30))))
    assert [c["instruction"] for c in program.candidate_programs] == [
        str(n) for n in range(29, 29 - CANDIDATE_PROGRAMS, -1)
    ]


def test_the_score_of_a_validation_set_is_the_one_told() -> None:
    validated = trial(1, "first", "x", 10).model_copy(
        update={"validation": Score(accuracy=70, loss=1, n=1)}
    )
    program = Chain()
    attach_results(program, results(validated))
    assert program.score == program.candidate_programs[0]["score"] == 70


def test_results_are_taken_off_again_and_nothing_else() -> None:
    program = Chain()
    before = set(vars(program))
    attach_results(program, results(trial(0, "first", "x", 10)))
    assert set(vars(program)) > before
    detach_results(program)
    assert set(vars(program)) == before


class Owner(dspy.Module):
    """Has attributes of its own that are called as results are."""

    def __init__(self) -> None:
        super().__init__()
        self.score = dspy.Predict("answer -> score")
        self.trial_logs = ["my own"]


def test_a_programs_own_attributes_stay_whatever_they_are_called() -> None:
    program = Owner()
    own = dict(vars(program))
    attach_results(program, results(trial(0, "score", "x", 10)))
    assert program.score is own["score"]
    assert program.trial_logs is own["trial_logs"]
    assert program.detailed_results.best.text == "x"
    detach_results(program)
    assert vars(program) == own


def test_results_of_another_optimizer_are_taken_off_and_own_attributes_are_not() -> None:
    program = Owner()
    program.candidate_programs = [{"score": 1.0, "program": Owner()}]
    program.total_calls = 3
    detach_results(program)
    assert set(vars(program)) == set(vars(Owner()))


def test_results_are_taken_off_programs_inside_too() -> None:
    outer = dspy.Module()
    outer.inner = Chain()
    attach_results(outer.inner, results(trial(0, "first", "x", 10)))
    detach_results(outer)
    assert set(vars(outer.inner)) == set(vars(Chain()))


def test_predictors_are_found_once_though_candidates_hold_copies() -> None:
    program = Chain()
    attach_results(program, results(trial(0, "first", "x", 10)))
    assert [name for name, _ in program.named_predictors()] == ["first", "second"]
