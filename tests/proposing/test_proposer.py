import re
from collections.abc import Sequence
from itertools import product
from typing import Any

import dspy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipo_dspy import CLIPClassifier
from ipo_dspy.errors import RefusedError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.prompts.rules import InstructionRules, TemplateRules, clean
from ipo_dspy.prompts.wording import MetaPrompt, ProposePrompt
from ipo_dspy.proposing.proposer import Proposer, rollout_id
from ipo_dspy.records import ScoredPrompt
from ipo_dspy.testing import COLOURS, ColourEncoder, scripted_lm

PROMPT = "a child's drawing of a <CLASS>."
LEADS = [
    "{}",
    "\n  {} \t",
    "Here is a prompt: {}",
    "Here's a new one:\n\n{}",
    "Here’s a better prompt: {}",
    "Here is one with the placeholder <CLASS>:\n\n{}",
    "Sure! Here is the improved template: {}",
    "Sure, {}",
    "Certainly!\n\nHere are some words: {}",
    "Prompt: {}",
    "The new prompt: {}",
    "My final answer: {}",
    "**Prompt:** {}",
    "<think>What could\nhelp?</think>\n\n{}",
]
BLOCKS = [
    "{}",
    "```\n{}\n```",
    "```text\n{}\n```",
    "**{}**",
    "__{}__",
    "<INS>{}</INS>",
    "<prompt>{}</prompt>",
    "<answer>\n{}\n</answer>",
]
QUOTES = ["{}", '"{}"', "'{}'", "“{}”", "‘{}’", "«{}»", "`{}`", "```{}```"]
WRAPPERS = [*LEADS, *BLOCKS, *QUOTES]


@pytest.mark.parametrize("lead", LEADS)
def test_what_stands_around_a_prompt_is_taken_off(lead: str) -> None:
    for block, quote in product(BLOCKS, QUOTES):
        assert clean(lead.format(block.format(quote.format(PROMPT)))) == PROMPT
        assert clean(block.format(lead.format(quote.format(PROMPT)))) == PROMPT


@given(st.lists(st.sampled_from([*WRAPPERS, '{}"', "{} x", "*{}"]), max_size=5), st.text())
@example(["'{}'"], "'a' and 'b'")
@example(["{}"], "*" * 7)
def test_cleaning_twice_is_cleaning_once(wrappers: list[str], text: str) -> None:
    for wrapper in wrappers:
        text = wrapper.replace("{}", text)
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    "text",
    [
        PROMPT,
        "a `neon` sign of a <CLASS>",
        '"big" or "small" <CLASS>',
        "'tis a <CLASS>, 'twas a photo'",
        "prompt photo of a <CLASS>",
        "a photo: a <CLASS>",
        "here a <CLASS>",
        "here is a <CLASS>: a drawing",
        "surely a <CLASS>",
        "a_b <CLASS> __c",
    ],
)
def test_a_bare_prompt_is_kept_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_bold_words_within_a_prompt_become_plain() -> None:
    assert clean("a **chalk** drawing of a <CLASS>") == "a chalk drawing of a <CLASS>"


def rules(*classnames: str, context_length: int = 12) -> TemplateRules:
    encoder = ColourEncoder(context_length=context_length)
    return TemplateRules(Embedder(encoder), classnames or tuple(COLOURS))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("a photo", "<CLASS> exactly once"),
        ("a <CLASS> and a {}", "found it 2 times"),
        ("a <CLASS>\nan <CLASS>", "more than one line"),
        ("a <CLASS>\u2028x", "more than one line"),
        ("a <CLASS> </INS>", "left-over '</INS>'"),
        ("a \x1b[31m<CLASS>", "hidden character U+001B"),
        ("a \u202e<CLASS>", "hidden character U+202E"),
        ("a\u200b <CLASS>", "hidden character U+200B"),
        ("a \u3164<CLASS>", "hidden character U+3164"),
        ("[[ ## prompt ## ]] a <CLASS>", "left-over '[[ ##'"),
        ("``` a <CLASS>", "left-over '```'"),
        ("<think> a <CLASS>", "left-over '<think>'"),
        ("one two three four five six seven eight nine ten <CLASS>", "has 13 tokens"),
    ],
)
def test_a_proposal_that_breaks_a_rule_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        rules().check(text)
    assert reason in str(refused.value)


@pytest.mark.parametrize("spelling", ["{}", "{class}", "[CLASS]", "<class>"])
def test_a_proposal_with_another_spelling_of_the_slot_is_taken(spelling: str) -> None:
    assert rules().check(f" a photo of a {spelling} ") == "a photo of a <CLASS>"


def test_the_longest_class_name_decides_how_long_a_proposal_may_be() -> None:
    text = "one two three four <CLASS>"
    assert rules("red", "green", context_length=7).check(text) == text
    with pytest.raises(RefusedError, match="has 10 tokens with the longest class name"):
        rules("red", "a very long one", context_length=7).check(text)


@pytest.mark.parametrize(
    "name", ["{}", "<CLASS>", "[CLASS] {class}", "snow_leopard", "日本猫 🐈", "word " * 60]
)
def test_strange_class_names_break_no_rule(name: str) -> None:
    template = "a photo of a <CLASS>"
    assert rules(name, "dog", context_length=77).check(template) == template


def test_the_prompt_model_is_told_how_many_tokens_there_are() -> None:
    assert "at most 9 tokens" in rules("red", context_length=12).limit
    assert "at most 8 tokens" in rules("red", "dark red", context_length=12).limit
    assert "at most 0 tokens" in rules("word " * 60, context_length=12).limit


def test_a_limit_in_characters_is_told_in_words_of_the_same_length() -> None:
    class Spelling(ColourEncoder):
        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            return [len(text) + 2 for text in texts]

    predict = CLIPClassifier(["red"], Spelling(context_length=65)).predict
    limit = TemplateRules(predict.embedder, predict.classnames).limit
    assert "at most 60 tokens" in limit
    assert "up to 3" in limit
    words = re.search(r"about (\d+) words", limit)
    assert words
    assert 8 <= int(words[1]) <= 12


@pytest.mark.parametrize("text", ["a Dark Red <CLASS>", "a photo of a <CLASS>, not a dog."])
def test_a_template_that_names_a_class_is_refused(text: str) -> None:
    own = rules("dark_red", "dog", "a", context_length=40)
    with pytest.raises(RefusedError, match="names the class"):
        own.check(text)
    assert own.form(text) == text
    assert own.check("a redder <CLASS>, doggedly") == "a redder <CLASS>, doggedly"


def test_an_instruction_is_taken_as_it_is_but_for_markers_of_dspy() -> None:
    assert InstructionRules().check(" Think.\nAnswer. ") == " Think.\nAnswer. "
    with pytest.raises(RefusedError, match="empty"):
        InstructionRules().check(" ")
    with pytest.raises(RefusedError, match="##"):
        InstructionRules().check("Think. [[ ## answer ## ]]")


calls = st.tuples(st.integers(), st.integers(0, 10**4), st.integers(0, 10**3), st.integers(0, 9))


@given(calls, calls)
def test_different_calls_have_different_numbers(
    one: tuple[int, int, int, int], other: tuple[int, int, int, int]
) -> None:
    assert 0 < rollout_id(*one) < 2**31
    assert (rollout_id(*one) == rollout_id(*other)) == (one == other)


def propose(proposer: dspy.Module, lm: dspy.LM) -> Any:
    history = [ScoredPrompt(prompt="a photo of a <CLASS>.", loss=1.5, accuracy=40.0)]
    with dspy.context(lm=lm):
        return proposer(
            meta_prompt="META", image_descriptions=["Image 0: chalk"], scored_history=history
        ).prompt


def test_the_prompt_model_sees_meta_prompt_descriptions_and_scored_history_in_order() -> None:
    lm = scripted_lm(["x"])
    assert propose(Proposer(), lm) == "x"
    [request] = lm.engine.requests
    places = [
        request.rindex(text)
        for text in ("META", "Image 0: chalk", '"prompt": "a photo of a <CLASS>."')
    ]
    assert places == sorted(places)
    assert '"loss": 1.5' in request
    assert '"accuracy": 40.0' in request


def test_the_order_of_the_sections_can_be_changed() -> None:
    lm = scripted_lm(["x"])
    order = ("scored_history", "image_descriptions", "meta_prompt")
    propose(Proposer(MetaPrompt(order=order).signature(ProposePrompt)), lm)
    [request] = lm.engine.requests
    places = [request.rindex(text) for text in ('"loss": 1.5', "Image 0: chalk", "META")]
    assert places == sorted(places)


def test_a_proposer_can_be_saved_and_optimised_like_any_module() -> None:
    proposer = Proposer()
    [(name, predictor)] = proposer.named_predictors()
    predictor.signature = predictor.signature.with_instructions("Be brief.")
    loaded = Proposer()
    loaded.load_state(proposer.dump_state())
    assert name == "propose"
    assert loaded.propose.signature.instructions == "Be brief."
