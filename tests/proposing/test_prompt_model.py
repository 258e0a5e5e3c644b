import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM

from ipo_dspy.errors import JournalError, SearchStoppedError
from ipo_dspy.proposing.prompt_model import PromptModel
from ipo_dspy.proposing.proposer import Proposer, rollout_id
from ipo_dspy.records import Reply
from ipo_dspy.runs.journal import Journal, NoJournal
from ipo_dspy.testing import ScriptedEngine, scripted_lm

ServeLM = Callable[..., AbstractContextManager[dspy.LM]]
INPUTS: dict[str, Any] = {"meta_prompt": "m", "image_descriptions": [], "scored_history": []}


class Log(NoJournal):
    """Keeps events in memory."""

    def append(self, event: Any) -> None:
        self.events.append(dict(event))


def model(lm: dspy.BaseLM, seed: int = 0, proposer: dspy.Module | None = None) -> PromptModel:
    return PromptModel(lm, proposer or Proposer(), temperature=1.0, seed=seed)


def ask(of: PromptModel, step: int = 1, slot: int = 0, log: Any = None) -> Reply:
    return of.ask(step, slot, INPUTS, log or NoJournal())


class Numbers(dspy.Module):
    """Tells the number and the temperature with which the configured model would be called."""

    def forward(self, **inputs: Any) -> dspy.Prediction:
        settings = dspy.settings.lm.kwargs
        seen = {name: settings.get(name) for name in ("rollout_id", "temperature", "seed")}
        return dspy.Prediction(prompt=json.dumps(seen))


def numbers(of: PromptModel, step: int, slot: int) -> dict[str, Any]:
    return dict(json.loads(ask(of, step, slot).text or ""))


def test_every_call_has_its_own_number_and_the_temperature() -> None:
    asked = model(scripted_lm(["x"]), proposer=Numbers())
    seen = [numbers(asked, step, slot) for step in range(1, 5) for slot in range(5)]
    assert len({one["rollout_id"] for one in seen}) == 20
    assert {one["temperature"] for one in seen} == {1.0}


def test_the_models_history_tells_number_and_temperature_of_each_call() -> None:
    lm = scripted_lm(["x"])
    asked = model(lm)
    for slot in range(3):
        ask(asked, 1, slot)
    assert [
        (entry["kwargs"]["rollout_id"], entry["kwargs"]["temperature"]) for entry in lm.history
    ] == [(rollout_id(0, 1, slot), 1.0) for slot in range(3)]


def test_the_same_call_of_a_repeated_search_has_the_same_number() -> None:
    first, second = (model(scripted_lm(["x"]), proposer=Numbers()) for _ in range(2))
    assert numbers(first, 3, 2) == numbers(second, 3, 2)
    other = model(scripted_lm(["x"]), seed=1, proposer=Numbers())
    assert numbers(first, 3, 2) != numbers(other, 3, 2)


def test_a_call_made_again_has_another_number() -> None:
    again = model(scripted_lm(["x"]), proposer=Numbers())
    again.count_earlier([Reply(step=3, slot=2, text="useless")])
    assert numbers(again, 3, 2)["rollout_id"] == rollout_id(0, 3, 2, attempt=1)
    assert numbers(again, 3, 1)["rollout_id"] == rollout_id(0, 3, 1, attempt=0)


def test_an_engine_that_takes_a_seed_gets_the_number_as_seed() -> None:
    class Seeded(ScriptedEngine):
        supported_params = ("temperature", "seed")

        def complete(self, request: dspy.lm15.Request) -> dspy.lm15.Response:
            seeds.append(request.config.seed)
            return super().complete(request)

    seeds: list[int | None] = []
    ask(model(dspy.LM("own/model", engine=Seeded(lambda n, r: "x"), cache=False)), 2, 1)
    assert seeds == [rollout_id(0, 2, 1)]


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_equal_requests_are_different_calls_in_dspys_cache() -> None:
    engine = ScriptedEngine(lambda number, request: f"answer {number}")
    lm = dspy.LM("own/cached", engine=engine, cache=True)
    answers = [ask(model(lm), 1, slot).text for slot in range(3)]
    assert answers == ["answer 0", "answer 1", "answer 2"]
    assert [ask(model(lm), 1, slot).text for slot in range(3)] == answers
    assert len(engine.requests) == 3


def test_calls_at_the_same_time_keep_their_own_tokens() -> None:
    together = threading.Barrier(4)

    class Counting(ScriptedEngine):
        def complete(self, request: dspy.lm15.Request) -> dspy.lm15.Response:
            together.wait(timeout=10)
            return super().complete(request)

    lm = dspy.LM("own/model", engine=Counting(lambda n, r: "x"), cache=False)
    asked = model(lm)
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda slot: ask(asked, 1, slot), range(4)))
    assert [reply.tokens for reply in replies] == [110] * 4
    assert len(lm.history) == 4


@pytest.mark.parametrize("setting", [{"disable_history": True}, {"max_history_size": 0}])
def test_tokens_are_known_where_dspy_keeps_no_history(setting: dict[str, Any]) -> None:
    with dspy.context(**setting):
        assert ask(model(scripted_lm(["x"]))).tokens == 110


def test_the_cost_of_an_engine_without_a_price_is_unknown() -> None:
    assert ask(model(scripted_lm(["x"]))).dollars is None


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_a_call_costs_what_dspy_says_and_nothing_from_its_cache(serve_lm: ServeLM) -> None:
    with serve_lm(content="x", model="openai/gpt-4o-mini", cache=True) as lm:
        first, second = (ask(model(lm)) for _ in range(2))
        assert first.dollars == pytest.approx(lm.history[0]["cost"])
    assert (first.text, first.tokens) == ("x", 10)
    assert (second.text, second.tokens, second.dollars) == ("x", None, None)


def test_the_tokens_of_an_engine_that_does_not_count_are_unknown() -> None:
    class Uncounted(ScriptedEngine):
        def complete(self, request: dspy.lm15.Request) -> dspy.lm15.Response:
            from dataclasses import replace

            from dspy.lm15 import Usage

            return replace(super().complete(request), usage=Usage())

    lm = dspy.LM("own/model", engine=Uncounted(lambda n, r: "x"), cache=False)
    assert ask(model(lm)).tokens is None


def test_all_calls_of_a_proposer_that_makes_several_are_counted() -> None:
    class Twice(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.draft = dspy.Predict("meta_prompt -> prompt")
            self.improve = dspy.Predict("draft -> prompt")

        def forward(self, meta_prompt: str, **inputs: Any) -> dspy.Prediction:
            return self.improve(draft=self.draft(meta_prompt=meta_prompt).prompt)

    reply = ask(model(scripted_lm(["draft", "final"]), proposer=Twice()))
    assert (reply.text, reply.tokens) == ("final", 220)


def test_a_reply_is_in_the_log_before_it_is_used() -> None:
    log = Log()
    reply = ask(model(scripted_lm(["x"])), 4, 2, log)
    assert log.events == [{"reply": reply.model_dump()}]
    assert (reply.step, reply.slot, reply.text) == (4, 2, "x")


def test_an_error_is_a_reply_too() -> None:
    def complain(number: int, request: str) -> str:
        raise dspy.lm15.RateLimitError("slow down", provider="p", status=429)

    lm = dspy.LM("own/model", engine=ScriptedEngine(complain), cache=False, num_retries=0)
    log = Log()
    reply = ask(model(lm), log=log)
    assert reply.text is None
    assert "slow down" in (reply.error or "")
    assert log.events == [{"reply": reply.model_dump()}]


def test_a_wrong_key_ends_the_search_and_leaves_no_reply() -> None:
    def refuse(number: int, request: str) -> str:
        raise dspy.lm15.AuthError("wrong key", provider="p", status=401)

    log = Log()
    with pytest.raises(SearchStoppedError, match="Check its name and its key"):
        ask(model(scripted_lm(refuse)), log=log)
    assert log.events == []


def test_a_half_character_in_a_reply_can_be_written(tmp_path: Path) -> None:
    with Journal(tmp_path, {}) as journal:
        assert ask(model(scripted_lm(["half \ud800"])), log=journal).text == "half ?"


def test_a_reply_that_cannot_be_kept_ends_the_search() -> None:
    class Full(NoJournal):
        def append(self, event: Any) -> None:
            raise JournalError("disk full")

    with pytest.raises(JournalError):
        ask(model(scripted_lm(["x"])), log=Full())


def test_a_dummy_lm_of_dspy_proposes_as_well() -> None:
    asked = model(DummyLM([{"prompt": "one"}, {"prompt": "two"}]))
    assert [ask(asked, 1, slot).text for slot in range(2)] == ["one", "two"]


def test_an_engine_with_just_one_method_proposes_as_well() -> None:
    class Smallest:
        def complete(self, request: dspy.lm15.Request) -> dspy.lm15.Response:
            from dspy.lm15 import Message, Response, Usage

            message = Message.assistant("[[ ## prompt ## ]]\na photo")
            return Response(
                id=None, model=request.model, message=message, finish_reason="stop", usage=Usage()
            )

    lm = dspy.LM("own/smallest", engine=Smallest(), cache=False)
    reply = ask(model(lm))
    assert (reply.text, reply.error, reply.tokens, reply.dollars) == ("a photo", None, None, None)


def test_settings_trace_and_the_models_own_settings_stay_as_they_are() -> None:
    lm = scripted_lm(["x"])
    before, kwargs, trace = dict(dspy.settings.config), dict(lm.kwargs), len(dspy.settings.trace)
    ask(model(lm))
    assert dict(dspy.settings.config) == before
    assert lm.kwargs == kwargs
    assert len(dspy.settings.trace) == trace


def test_usage_reaches_who_tracks_it_outside() -> None:
    with dspy.track_usage() as usage:
        ask(model(scripted_lm(["x"])))
    assert usage.get_total_tokens()["scripted/model"]["total_tokens"] == 110
