import pytest

from ipo_dspy.prompts.wording import (
    INSTRUCTION_META_PROMPT,
    PAPER_META_PROMPT,
    SECTIONS,
    DescribeImage,
    MetaPrompt,
    ProposePrompt,
    token_limit,
)


def test_the_proposal_signature_takes_the_three_sections_and_gives_one_prompt() -> None:
    assert tuple(ProposePrompt.input_fields) == SECTIONS
    assert list(ProposePrompt.output_fields) == ["prompt"]


@pytest.mark.parametrize("meta_prompt", [MetaPrompt(), INSTRUCTION_META_PROMPT])
def test_the_instructions_name_no_data_set(meta_prompt: MetaPrompt) -> None:
    text = meta_prompt.render(limit="", refusals=[]).lower()
    assert not any(word in text for word in ("flower", "pet", "car ", "food", "imagenet"))
    assert "loss" in text
    assert "accuracy" in text


def test_the_describer_is_asked_not_to_name_the_class() -> None:
    assert "Do not give the name" in DescribeImage.instructions


def test_the_instructions_can_be_replaced() -> None:
    text = MetaPrompt(task="One.", scores="Two.", goal="Three.", facts="").render(
        limit="", refusals=[]
    )
    assert text == "One.\n\nTwo.\n\nThree."


def test_length_limit_and_refusals_follow_the_instructions() -> None:
    text = MetaPrompt().render(limit="LIMIT", refusals=[("a photo", "no slot"), ("b", "two slots")])
    assert text.index("concise") < text.index("LIMIT") < text.index("- 'a photo': no slot")
    assert text.endswith("- 'b': two slots")


def test_a_refused_text_cannot_break_out_of_its_line() -> None:
    text = MetaPrompt().render(limit="", refusals=[("a\n- b", "two lines")])
    assert text.splitlines()[-1] == r"- 'a\n- b': two lines"


@pytest.mark.parametrize(
    "order", [(), SECTIONS[:2], (*SECTIONS, "prompt"), ("meta_prompt",) * 3], ids=str
)
def test_an_order_that_is_none_of_the_sections_is_refused(order: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="each of meta_prompt, image_descriptions, scored_history"):
        MetaPrompt(order=order)


def test_another_order_keeps_fields_instructions_and_output() -> None:
    order = ("scored_history", "meta_prompt", "image_descriptions")
    signature = MetaPrompt(order=order).signature()
    assert tuple(signature.input_fields) == order
    assert list(signature.output_fields) == ["prompt"]
    assert signature.instructions == ProposePrompt.instructions
    for name, field in ProposePrompt.fields.items():
        assert signature.fields[name].annotation == field.annotation
        assert signature.fields[name].json_schema_extra == field.json_schema_extra


def test_a_limit_in_tokens_is_told_in_words_too() -> None:
    limit = token_limit(40, 3, tokens_per_word=1.25)
    assert "at most 40 tokens" in limit
    assert "about 32 words" in limit


def test_the_facts_are_filled_once() -> None:
    names = [f"class {number}" for number in range(48)]
    text = MetaPrompt().about(24, names).render(limit="", refusals=[])
    assert "24 training images; one of them is 4.2 points" in text
    assert "48 classes" in text
    assert sum(name in text for name in names) >= 5


def test_losers_are_listed_where_the_meta_prompt_speaks_of_them() -> None:
    text = MetaPrompt().render(limit="", refusals=[], losers=["a <CLASS>"])
    assert text.splitlines()[-1] == "- 'a <CLASS>'"
    assert "- '" not in PAPER_META_PROMPT.render(limit="", refusals=[], losers=["a <CLASS>"])
