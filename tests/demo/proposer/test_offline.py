import copy
import json
from collections.abc import Sequence
from typing import Any

import dspy
import pytest
from dspy.lm15 import Config, Message, Request
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.demo.proposer.offline import OfflineProposer, offline_lm
from ipo_dspy.prompts.drafts import reads_well

HISTORY = [
    {"prompt": "a photo of a <CLASS>.", "loss": 2.0, "accuracy": 40.0},
    {"prompt": "a chalk drawing of a <CLASS>.", "loss": 1.0, "accuracy": 70.0},
]
DESCRIPTIONS = ["Image 0: chalk drawing, on a blackboard, white", "Image 1: chalk, wall, noisy"]


class Propose(dspy.Signature):
    meta_prompt: str = dspy.InputField()
    image_descriptions: list[str] = dspy.InputField()
    scored_history: list[dict[str, Any]] = dspy.InputField()
    prompt: str = dspy.OutputField()


def request(text: str, seed: int | None) -> Request:
    return Request(
        model="offline/proposer", messages=(Message.user(text),), config=Config(seed=seed)
    )


def propose(
    seed: int, meta_prompt: str = "Keep <CLASS>.", history: Sequence[dict[str, Any]] = HISTORY
) -> str:
    answered = dspy.Predict(Propose)(
        meta_prompt=meta_prompt,
        image_descriptions=DESCRIPTIONS,
        scored_history=list(history),
        lm=offline_lm(),
        config={"temperature": 1.0, "seed": seed},
    )
    return str(answered.prompt)


def test_the_answer_depends_on_texts_and_seed_alone() -> None:
    first, second = OfflineProposer(), OfflineProposer()
    texts = [("a red map of a <CLASS>.", 1), ("a red map of a <CLASS>.", 2), ("other", 1)]
    forwards = [first.complete(request(*text)).message.text for text in texts]
    backwards = [second.complete(request(*text)).message.text for text in reversed(texts)]
    assert forwards == backwards[::-1]


def test_seeds_give_different_answers() -> None:
    assert len({propose(seed) for seed in range(20)}) > 12


def test_equal_requests_without_a_seed_get_different_answers() -> None:
    engine = OfflineProposer()
    texts = {engine.complete(request("a photo of a <CLASS>.", None)).message.text for _ in range(9)}
    assert len(texts) > 5


def test_an_lm_says_that_it_takes_a_seed() -> None:
    assert "seed" in offline_lm().supported_params


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()], ids=["chat", "json"])
@given(seed=st.integers(0, 2**31 - 1))
def test_proposals_have_one_slot_and_read_well(adapter: dspy.Adapter, seed: int) -> None:
    with dspy.context(adapter=adapter):
        prompt = propose(seed)
    assert prompt.count("<CLASS>") == 1
    assert len(prompt.splitlines()) == 1
    assert reads_well(prompt)


def test_refused_and_earlier_prompts_are_not_proposed_again() -> None:
    refused = {propose(seed) for seed in range(30)}
    meta_prompt = "Keep <CLASS>.\n" + "\n".join(f"- {text!r}: too long" for text in refused)
    proposals = {propose(seed, meta_prompt) for seed in range(30)}
    assert not proposals & {*refused, *(row["prompt"] for row in HISTORY)}


def test_templates_are_proposed_where_the_history_is_empty() -> None:
    assert all(propose(seed, history=[]).count("<CLASS>") == 1 for seed in range(20))


def test_a_token_limit_in_the_request_is_kept() -> None:
    prompts = [propose(seed, "A prompt may have at most 12 tokens.") for seed in range(30)]
    assert max(len(prompt.split()) for prompt in prompts) <= 9


def test_usage_counts_words() -> None:
    response = OfflineProposer().complete(request("three words here", 0))
    assert response.usage.input_tokens == 3
    assert response.usage.output_tokens == len(response.message.text.split())


def test_other_text_fields_say_that_no_language_model_is_at_work() -> None:
    answered = dspy.Predict("question -> answer")(question="?", lm=offline_lm())
    assert "no language model" in answered.answer


def test_instructions_without_a_slot_are_edited() -> None:
    signature = "basic_instruction -> proposed_instruction"
    basic = "Translate the text."
    answered = dspy.Predict(signature)(basic_instruction=basic, lm=offline_lm())
    assert answered.proposed_instruction.startswith(basic)
    assert answered.proposed_instruction != basic


def test_free_text_is_answered_in_a_fence_where_one_is_asked_for() -> None:
    text = "Improve this:\n```\na photo of a <CLASS>.\n```\nAnswer within ``` blocks."
    answered = OfflineProposer().complete(request(text, 0)).message.text
    assert answered.startswith("```\n")
    assert answered.endswith("\n```")
    assert "<CLASS>" in answered


def test_an_lm_survives_saving_and_copying() -> None:
    lm = offline_lm()
    state = json.loads(json.dumps(lm.dump_state()))
    loaded = dspy.LM.load_state(state, allow_custom_lm_class=True)
    assert isinstance(loaded.engine, OfflineProposer)
    assert copy.deepcopy(lm).engine is lm.engine


def test_a_limit_in_characters_is_kept() -> None:
    limit = "at most 30 tokens besides the class name, of the encoder's own: about 5 words or 30 "
    prompts = [propose(seed, f"A prompt may have {limit}characters.") for seed in range(30)]
    assert max(len(prompt.replace("<CLASS>", "")) for prompt in prompts) <= 30
    assert max(len(prompt.split()) for prompt in prompts) <= 6


def test_the_class_name_may_stand_first_last_or_alone() -> None:
    prompts = {propose(seed) for seed in range(80)}
    assert any(prompt.startswith("<CLASS>,") for prompt in prompts)
    assert any(": <CLASS>" in prompt for prompt in prompts)


def test_what_was_refused_is_no_parent() -> None:
    meta_prompt = "Keep <CLASS>.\n- 'a wobbly gizmo of a <CLASS>': it was tried before"
    proposals = [propose(seed, meta_prompt, history=[]) for seed in range(40)]
    assert not any("gizmo" in text or "tried" in text for text in proposals)
