import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy import CLIPClassifier
from ipo_dspy.errors import RefusedError
from ipo_dspy.prompts.rules import InstructionRules, TemplateRules, clean, without_reasoning
from ipo_dspy.testing import COLOURS, ColourEncoder

CAPTION = "a chalk drawing of a <CLASS>."


@pytest.fixture
def rules() -> TemplateRules:
    predict = CLIPClassifier(list(COLOURS), ColourEncoder(context_length=40)).predict
    return TemplateRules(predict.embedder, predict.classnames)


@pytest.mark.parametrize(
    "reply",
    [
        '{"prompt": "%s"}',
        '```json\n{"prompt": "%s"}\n```',
        '["%s"]',
        "%s<|im_end|>",
        "%s</s>",
        "[THINK]hm[/THINK]%s",
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>%s",
        "\\boxed{%s}",
        "- %s",
        "1. %s",
        "(a) %s",
        "> %s",
        "Option 1: %s",
        "Caption: %s",
        "$\\text{%s}$",
        "[/INST] %s",
        "「%s」",
        '{"prompt": "%s", "why": "it names the medium"}',
        "◁think▷hm◁/think▷%s",
        '"%s" - this stresses the medium.',
        "“%s”: it names what all images share.",
        "Let me see.\n</think>\n\n%s",
        "<thinking>\nhm\n</thinking>\n%s",
        "<thought>one</thought>\n<reasoning>two</reasoning>\n%s",
        '<think>I could say "a draft of a <CLASS>."</think>\n**%s**',
    ],
)
def test_what_models_put_around_a_prompt_is_taken_off(reply: str, rules: TemplateRules) -> None:
    assert rules.check(clean(reply.replace("%s", CAPTION))) == CAPTION


@pytest.mark.parametrize(
    "text",
    [
        "a chalk drawing of a <CLASS>thing</CLASS>.",
        '{"prompts": ["a <CLASS>", "one <CLASS>"], "n": 2}',
        '["a <CLASS>", "one <CLASS>"]',
        "[INST] a <CLASS>",
        "◁think▷ a <CLASS>",
        "<think>I never came to an end: a <CLASS>",
        "a <CLASS> with a high accuracy.",
        "a prompt for a <CLASS>.",
        "INS a <CLASS>.",
        "a chalk drawing of a <CLASS> with the",
        "a chalk drawing of a <CLASS>, drawn by",
        "a chalk drawing of a <CLASS>,",
        "a chalk drawing of a <CLASS> ...",
        "a chalk drawing (of a <CLASS>.",
        "a chalk\x07 drawing of a <CLASS>.",
        "a chalk drawing of a \u202e<CLASS>.",
        "a chalk\u200b drawing of a <CLASS>.",
    ],
)
def test_what_belongs_to_no_caption_is_refused(text: str, rules: TemplateRules) -> None:
    with pytest.raises(RefusedError):
        rules.check(clean(text))


@pytest.mark.parametrize(
    "text",
    [
        "<CLASS>",
        "<CLASS>, a photo",
        "a photo: <CLASS>",
        "a drawing that one of the children made of a <CLASS>",
        "a (blurry) photo of a <CLASS>.",
        "a child's drawing of a <CLASS>",
        "2-D drawing of a <CLASS>",
        "фото: <CLASS>",
    ],
)
def test_captions_of_every_structure_pass(text: str, rules: TemplateRules) -> None:
    assert rules.check(clean(text)) == text


@given(st.text())
def test_cleaning_ends_and_is_done_once(reply: str) -> None:
    assert clean(clean(reply)) == clean(reply)


@given(st.text(alphabet="ab \n"), st.sampled_from(["think", "thinking", "thought", "reasoning"]))
def test_only_what_follows_the_reasoning_is_the_answer(thought: str, tag: str) -> None:
    for opening in (f"<{tag}>", ""):
        assert without_reasoning(f"{opening}{thought}</{tag}>{CAPTION}") == CAPTION


def test_an_instruction_may_speak_of_tags_and_scores() -> None:
    text = "Write your reasoning in <reasoning></reasoning>, then the score of the prompt to"
    assert InstructionRules().limit == ""
    assert without_reasoning(text) == text
