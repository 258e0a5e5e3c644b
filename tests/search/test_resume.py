"""A search that is stopped anywhere ends as if it had never stopped: promises of the optimizer."""

import contextlib
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import dspy
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ipo_dspy import Budget, CLIPClassifier, IPOOptimizer, LMDescriber, MetaPrompt, NoDescriber
from ipo_dspy.demo.proposer.offline import OfflineProposer
from ipo_dspy.errors import JournalError, SearchStoppedError
from ipo_dspy.testing import COLOURS, ColourEncoder, ScriptedEngine, colour_examples, scripted_lm

STEPS, PROMPTS = 4, 3


class Counting(OfflineProposer):
    """The offline proposer, with a count of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def complete(self, request: dspy.lm15.Request) -> dspy.lm15.Response:
        self.calls += 1
        return super().complete(request)


class Run:
    """One process of a search in a run folder, with what it calls."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.writer = Counting()
        self.seer = ScriptedEngine(self._describe, field="description")
        vision = dspy.LM("scripted/vision", engine=self.seer, cache=False)
        examples = changes.pop("trainset", colour_examples())
        chosen = {
            "prompt_model": dspy.LM("offline/counting", engine=self.writer, cache=False),
            "describer": LMDescriber(vision, num_threads=1),
            "steps": STEPS,
            "prompts_per_step": PROMPTS,
            "run_dir": folder,
        }
        student = changes.pop("student", None) or CLIPClassifier(list(COLOURS), ColourEncoder())
        valset = changes.pop("valset", None)
        self.optimizer = IPOOptimizer(**{**chosen, **changes})
        self.found = self.optimizer.compile(student, trainset=examples, valset=valset)

    @staticmethod
    def _describe(number: int, request: str) -> str:
        return f"a crisp picture, {'flat' if number % 2 else 'rough'}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, Run(folder)


def journal_lines(folder: Path) -> list[dict[str, Any]]:
    content = (folder / "journal.jsonl").read_bytes()
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def count(lines: list[dict[str, Any]], kind: str) -> int:
    return sum(kind in line for line in lines)


def outcome(run: Run) -> Any:
    state = run.found.dump_state()
    results = run.found.detailed_results
    return state, results.trials, results.best, results.spent.calls, results.spent.tokens


# Descriptions depend on how many were made before, so cuts lie behind them here.
@given(cut=st.floats(0, 1))
@example(cut=0.0)
@example(cut=1.0)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_cut_at_any_byte_it_ends_the_same_and_asks_nothing_twice(
    whole: tuple[Path, Run], tmp_path_factory: pytest.TempPathFactory, cut: float
) -> None:
    folder, unstopped = whole
    content = (folder / "journal.jsonl").read_bytes()
    described = content.index(b'{"trial"')
    again = tmp_path_factory.mktemp("again")
    kept = described + round(cut * (len(content) - described))
    (again / "journal.jsonl").write_bytes(content[:kept])
    known = journal_lines(again)
    resumed = Run(again)
    assert outcome(resumed) == outcome(unstopped)
    assert resumed.writer.calls == STEPS * PROMPTS - count(known, "reply")
    assert not resumed.seer.requests
    assert (again / "journal.jsonl").read_bytes().count(b"\n") == content.count(b"\n")


@pytest.mark.slow
@pytest.mark.parametrize("described", range(7))
def test_only_images_without_a_description_are_described(
    whole: tuple[Path, Run], tmp_path: Path, described: int
) -> None:
    folder, _ = whole
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if line.startswith(b'{"description"'))
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[: first + described]))
    resumed = Run(tmp_path)
    assert len(resumed.seer.requests) == 6 - described
    kept = [
        line["description"]["index"] for line in journal_lines(tmp_path) if "description" in line
    ]
    assert kept == list(range(6))


def failing_vision(*broken: int) -> LMDescriber:
    def answer(number: int, request: str) -> str:
        if number in broken:
            raise dspy.lm15.ServerError("broken", provider="p", status=500)
        return "text"

    engine = ScriptedEngine(answer, field="description")
    lm = dspy.LM("scripted/vision", engine=engine, cache=False, num_retries=0)
    return LMDescriber(lm, num_threads=1)


@pytest.mark.slow
def test_a_failed_description_is_asked_again_only_before_the_first_proposal(
    tmp_path: Path,
) -> None:
    def refuse(number: int, request: str) -> str:
        raise dspy.lm15.AuthError("wrong key", provider="p", status=401)

    with pytest.raises(SearchStoppedError):
        Run(tmp_path, prompt_model=named(scripted_lm(refuse)), describer=failing_vision(1, 2))
    again = failing_vision(1)
    Run(tmp_path, describer=again)
    assert len(again.lm.engine.requests) == 2
    never = failing_vision()
    Run(tmp_path, describer=never)
    assert not never.lm.engine.requests


def named(lm: dspy.LM) -> dspy.LM:
    lm.model = "offline/counting"
    return lm


def test_a_finished_search_comes_back_without_a_call(whole: tuple[Path, Run]) -> None:
    folder, unstopped = whole
    again = Run(folder)
    assert outcome(again) == outcome(unstopped)
    assert (again.writer.calls, len(again.seer.requests)) == (0, 0)


@pytest.mark.slow
def test_more_steps_go_on_from_a_finished_search(whole: tuple[Path, Run], tmp_path: Path) -> None:
    folder, unstopped = whole
    shutil.copytree(folder, tmp_path / "more")
    longer = Run(tmp_path / "more", steps=STEPS + 2)
    assert longer.writer.calls == 2 * PROMPTS
    before = unstopped.found.detailed_results.trials
    assert longer.found.detailed_results.trials[: len(before)] == before
    assert outcome(Run(tmp_path / "fresh", steps=STEPS + 2)) == outcome(longer)


def test_a_budget_counts_what_was_spent_before(whole: tuple[Path, Run], tmp_path: Path) -> None:
    folder, _ = whole
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[:-7]))
    resumed = Run(tmp_path, budget=Budget(calls=STEPS * PROMPTS - 1))
    assert resumed.found.detailed_results.spent.calls == STEPS * PROMPTS - 1
    assert resumed.found.detailed_results.ended_by.startswith("calls")


@pytest.mark.slow
@pytest.mark.parametrize("steady", [False, True])
def test_useless_answers_stop_it_and_a_better_model_goes_on(tmp_path: Path, steady: bool) -> None:
    babble = named(scripted_lm(["nonsense"]))
    with pytest.raises(SearchStoppedError, match="10 useless answers in a row"):
        Run(tmp_path, prompt_model=babble, steady=steady)
    mended = Run(tmp_path, steady=steady)
    assert mended.writer.calls == STEPS * PROMPTS
    assert not any(
        trial.counts_as_failure and "nonsense" in trial.text
        for trial in mended.found.detailed_results.trials
    )


def test_a_search_that_got_no_answer_at_all_asks_again(tmp_path: Path) -> None:
    def is_down(number: int, request: str) -> str:
        raise OSError("down")

    in_vain = Run(tmp_path, prompt_model=named(scripted_lm(is_down)), steps=1)
    assert in_vain.found.detailed_results.useless is not None
    mended = Run(tmp_path, steps=1)
    assert mended.writer.calls == PROMPTS
    assert mended.found.detailed_results.useless is None
    assert Run(tmp_path, steps=1).writer.calls == 0


def test_a_wrong_key_stops_it_and_the_right_one_goes_on(
    whole: tuple[Path, Run], tmp_path: Path
) -> None:
    def refuse(number: int, request: str) -> str:
        if number < PROMPTS:
            return "a crisp <CLASS>"
        raise dspy.lm15.AuthError("wrong key", provider="p", status=401)

    with pytest.raises(SearchStoppedError, match="Repeat the command"):
        Run(tmp_path, prompt_model=named(scripted_lm(refuse)))
    mended = Run(tmp_path)
    assert mended.writer.calls == (STEPS - 1) * PROMPTS


def test_every_event_is_written_before_the_next_step_begins(tmp_path: Path) -> None:
    class Watching(Counting):
        def complete(self, request: dspy.lm15.Request) -> dspy.lm15.Response:
            lines = journal_lines(tmp_path)
            seen.append((count(lines, "description"), count(lines, "trial")))
            return super().complete(request)

    seen: list[tuple[int, int]] = []
    lm = dspy.LM("offline/counting", engine=Watching(), cache=False)
    Run(tmp_path, prompt_model=lm)
    assert [step for step, _ in seen] == [6] * STEPS * PROMPTS
    for call, (_, trials) in enumerate(seen):
        assert trials >= 1 + call // PROMPTS * PROMPTS


def recoloured() -> list[dspy.Example]:
    return colour_examples(per_colour=2)[1::2]


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "another seed"),
        ({"prompts_per_step": 2}, "prompts per step"),
        ({"history_size": 3}, "size of the history"),
        ({"images_described": 3}, "described images"),
        ({"temperature": 0.5}, "another temperature"),
        ({"steady": True}, "another strategy"),
        ({"initial": "a <CLASS>"}, "another first prompt"),
        ({"describer": NoDescriber()}, "another description"),
        ({"metric": lambda example, pred, trace=None: 1.0}, "another metric"),
        ({"meta_prompt": MetaPrompt(task="Other.")}, "another (meta-prompt|proposer)"),
        (
            {"proposer": dspy.Predict("meta_prompt, image_descriptions, scored_history -> prompt")},
            "another (meta-prompt|proposer)",
        ),
        ({"prompt_model": scripted_lm(["x"])}, "another prompt model.*offline/counting. then"),
        ({"trainset": recoloured()}, "training images"),
        ({"valset": recoloured()}, "validation images"),
        (
            {"student": CLIPClassifier(list(COLOURS), ColourEncoder(["dim"]))},
            "another (encoder|program)",
        ),
        ({"student": CLIPClassifier([*COLOURS, "pink"], ColourEncoder())}, "another program"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_another_search_in_the_same_folder_is_refused_and_changes_nothing(
    whole: tuple[Path, Run], changes: dict[str, Any], difference: str
) -> None:
    folder, _ = whole
    before = (folder / "journal.jsonl").read_bytes()
    with pytest.raises(JournalError, match=difference):
        Run(folder, **changes)
    assert (folder / "journal.jsonl").read_bytes() == before


def test_a_search_without_a_run_folder_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Run(tmp_path, run_dir=None)
    assert list(tmp_path.iterdir()) == []


def forged(event: dict[str, Any]) -> bytes:
    """A line with the right checksum, whatever it says."""
    line = orjson.dumps({key: value for key, value in event.items() if key != "crc32"})
    return line[:-1] + b',"crc32":"%08x"}\n' % zlib.crc32(line)


def test_trials_that_no_search_wrote_are_named_and_scored_again(
    whole: tuple[Path, Run], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, unstopped = whole
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        event = orjson.loads(line)
        if "trial" in event and event["trial"]["score"] is not None:
            event["trial"]["score"]["loss"] = -3.0
            lines[number - 1] = forged(event)
            caplog.clear()
            shutil.rmtree(tmp_path)
            tmp_path.mkdir()
            (tmp_path / "journal.jsonl").write_bytes(b"".join(lines))
            assert outcome(resumed := Run(tmp_path)) == outcome(unstopped)
            assert resumed.writer.calls == 0
            assert any(f"line {number} " in message for message in caplog.messages)
            return
    pytest.fail("no trial was found")


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_whatever_a_line_says_it_is_taken_or_named(
    whole: tuple[Path, Run], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder, _ = whole
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    place = data.draw(st.integers(0, len(lines) - 1))
    event = orjson.loads(lines[place])
    kind = data.draw(st.sampled_from(sorted(event)))
    body = event[kind]
    key = data.draw(st.sampled_from(sorted(body))) if isinstance(body, dict) and body else None
    value = data.draw(
        st.none() | st.integers(-5, 5) | st.floats() | st.text(max_size=5) | st.just({"a": []})
    )
    if key is None:
        event[kind] = value
    else:
        body[key] = value
    lines[place] = forged(event)
    again = tmp_path_factory.mktemp("forged")
    (again / "journal.jsonl").write_bytes(b"".join(lines))
    with contextlib.suppress(JournalError):
        Run(again)
