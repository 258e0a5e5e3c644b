"""What DSPy and the tools around it expect of an optimizer."""

import inspect
import threading
from typing import Any

import dspy
import pytest
import tqdm
from dspy.teleprompt import Teleprompter
from dspy.utils import BaseCallback

from ipo_dspy import CLIPClassifier, IPOOptimizer, clip_acc
from ipo_dspy.testing import ColourEncoder, scripted_lm

Examples = list[dspy.Example]

FIRST = "a crisp photo of a <CLASS>."
SECOND = "a dim photo of a <CLASS>."


@pytest.fixture
def optimizer() -> IPOOptimizer:
    lm = scripted_lm([FIRST, SECOND, "Look closely."])
    return IPOOptimizer(
        clip_acc,
        prompt_model=lm,
        steps=1,
        prompts_per_step=3,
        num_threads=1,
        initial=["a photo of a <CLASS>."],
    )


class Listener(BaseCallback):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_compile_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.heard.append(("compile", sorted(inputs)))

    def on_compile_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
        self.heard.append(("compiled", outputs.template.text))

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        program, metadata = inputs["program"], inputs["callback_metadata"]
        self.heard.append((metadata["metric_key"], program.template.text))

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
        self.heard.append(outputs.score)


def test_callbacks_see_the_search_and_every_candidate(
    program: CLIPClassifier, trainset: Examples, optimizer: IPOOptimizer
) -> None:
    configured, own = Listener(), Listener()
    optimizer.callbacks = [own]
    with dspy.context(callbacks=[configured]):
        optimizer.compile(program, trainset=trainset)
    search = ("compile", ["student", "teacher", "trainset", "valset"]), ("compiled", FIRST)
    assert own.heard == list(search)
    assert configured.heard == [
        search[0],
        ("eval_full", "a photo of a <CLASS>."),
        0.0,
        ("eval_full", FIRST),
        100.0,
        ("eval_full", SECOND),
        0.0,
        search[1],
    ]


def test_with_a_validation_set_its_scores_are_the_ones_that_count(
    program: CLIPClassifier, trainset: Examples, optimizer: IPOOptimizer
) -> None:
    listener = Listener()
    with dspy.context(callbacks=[listener]):
        best = optimizer.compile(program, trainset=trainset[:6], valset=trainset[6:])
    keys = [heard[0] for heard in listener.heard if isinstance(heard, tuple)]
    assert keys.count("eval_train") == keys.count("eval_full") == 3
    assert best.score == best.detailed_results.best.validation.accuracy


def test_whole_programs_are_announced_once_per_candidate(
    trainset: Examples, optimizer: IPOOptimizer, program: CLIPClassifier
) -> None:
    class Own(CLIPClassifier):
        def forward(self, image: object) -> dspy.Prediction:
            return super().forward(image)

    listener = Listener()
    with dspy.context(callbacks=[listener]):
        optimizer.compile(Own(program.classnames, program.embedder), trainset=trainset)
    assert [h for h in listener.heard if isinstance(h, float)] == [0.0, 100.0, 0.0]


def test_mlflow_finds_what_it_patches() -> None:
    """It patches direct subclasses, and adds to what `get_params` gives."""
    assert IPOOptimizer in Teleprompter.__subclasses__()
    optimizer = IPOOptimizer(clip_acc)
    optimizer.get_params().update(student="x", trainset=[])
    assert "student" not in optimizer.get_params()
    assert optimizer.get_params()["metric"] is clip_acc


def test_no_list_of_a_state_grows_with_the_classes() -> None:
    """MLflow logs each entry of a list in the state as a parameter of its own."""
    names = [f"class {number}" for number in range(1000)]
    lists: list[int] = []

    def count(part: object) -> None:
        if isinstance(part, list):
            lists.append(len(part))
        for inner in part.values() if isinstance(part, dict) else ():
            count(inner)

    count(CLIPClassifier(names, ColourEncoder()).dump_state())
    assert max(lists, default=0) < 10


def test_better_together_can_read_the_arguments_of_compile() -> None:
    parameters = inspect.signature(IPOOptimizer(clip_acc).compile).parameters
    assert list(parameters) == ["student", "trainset", "teacher", "valset"]


def test_usage_is_tracked(
    program: CLIPClassifier, trainset: Examples, optimizer: IPOOptimizer
) -> None:
    with dspy.track_usage() as tracker:
        best = optimizer.compile(program, trainset=trainset)
    usage = tracker.get_total_tokens()["scripted/model"]
    assert usage["total_tokens"] == 330
    with dspy.context(track_usage=True):
        assert best(image=trainset[0].image).get_lm_usage() == {}


def test_results_have_the_shapes_of_other_optimizers(
    program: CLIPClassifier, trainset: Examples, optimizer: IPOOptimizer
) -> None:
    best = optimizer.compile(program, trainset=trainset)
    scores = [candidate["score"] for candidate in best.candidate_programs]
    assert scores == sorted(scores, reverse=True) == [100.0, 0.0, 0.0]
    assert best.candidate_programs[0]["program"].template.text == FIRST
    assert best.score == 100.0
    assert [log["text"] for log in best.trial_logs.values()][1:] == [FIRST, SECOND, "Look closely."]
    assert best.total_calls == best.prompt_model_total_calls == 3
    assert best.detailed_results.prompts == [FIRST, "a photo of a <CLASS>.", SECOND]


def test_results_stay_off_where_the_user_wants_none(
    program: CLIPClassifier, trainset: Examples, optimizer: IPOOptimizer
) -> None:
    optimizer.track_stats = False
    best = optimizer.compile(program, trainset=trainset)
    assert not hasattr(best, "candidate_programs")


def test_the_result_is_not_frozen(
    program: CLIPClassifier, trainset: Examples, optimizer: IPOOptimizer
) -> None:
    best = optimizer.compile(program, trainset=trainset)
    assert not best._compiled
    assert [name for name, _ in best.named_predictors()] == ["predict"]


def test_settings_trace_and_student_stay_as_they_were(
    program: CLIPClassifier, trainset: Examples, optimizer: IPOOptimizer
) -> None:
    trace: list[Any] = []
    before = program.dump_state()
    attributes = set(vars(program))
    with dspy.context(trace=trace):
        settings = dict(dspy.settings.copy())
        optimizer.compile(program, trainset=trainset)
        assert dict(dspy.settings.copy()) == settings
    assert trace == []
    assert program.dump_state() == before
    assert set(vars(program)) == attributes


def test_no_threads_and_no_progress_bars_are_left_behind(
    program: CLIPClassifier,
    trainset: Examples,
    optimizer: IPOOptimizer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tqdm.tqdm._instances.clear()
    before = set(threading.enumerate())
    optimizer.compile(program, trainset=trainset)
    assert set(threading.enumerate()) <= before
    assert len(tqdm.tqdm._instances) == 0
    assert "".join(capsys.readouterr()) == ""


def test_an_optimizer_can_be_used_again(
    program: CLIPClassifier, trainset: Examples, optimizer: IPOOptimizer
) -> None:
    params = optimizer.get_params()
    first = optimizer.compile(program, trainset=trainset)
    second = optimizer.compile(program, trainset=trainset)
    assert optimizer.get_params() == params
    assert first.template == second.template


def test_a_compile_inside_a_compile_is_seen(
    program: CLIPClassifier, trainset: Examples, optimizer: IPOOptimizer, lm: dspy.LM
) -> None:
    listener = Listener()
    program.set_lm(lm)
    together = dspy.BetterTogether(clip_acc, ipo=optimizer)
    with dspy.context(callbacks=[listener]):
        together.compile(
            program, trainset=list(trainset), valset=trainset, strategy="ipo", num_threads=1
        )
    assert [h[0] for h in listener.heard if isinstance(h, tuple)].count("compile") == 2
