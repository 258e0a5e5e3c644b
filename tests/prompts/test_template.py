import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipo_dspy.errors import InvalidTemplateError
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE, SLOT, Template

SPELLINGS = ["{}", "{c}", "{class}", "{label}", "[CLASS]", "<class>", "<CLASS>", "{Class}"]
# Texts rich in what slots and lines are made of; plain text would hardly ever have one.
slotted_text = st.lists(
    st.one_of(st.sampled_from([*SPELLINGS, "\n", "\u2028", " ", "{", "}", "<", ">", "class"]))
    | st.text(max_size=5),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_accepted_spelling_becomes_the_slot(spelling: str) -> None:
    assert Template(f"a photo of a {spelling}.").text == "a photo of a <CLASS>."


@pytest.mark.parametrize("text", ["{ }", "{d}", "(CLASS)", "CLASS", "$CLASS", "{classes}"])
def test_other_spellings_are_kept_as_they_are(text: str) -> None:
    assert Template(f"{text} {SLOT}").fill("dog") == (f"{text} dog",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        (" \n\t\n", "empty"),
        ("a photo", "found it 0 times in 'a photo'"),
        ("<CLASS> and {}", "found it 2 times"),
        ("a <CLASS>\na photo", "found it 0 times in 'a photo'"),
    ],
)
def test_a_text_that_is_no_template_is_refused_with_the_broken_rule(
    text: str, complaint: str
) -> None:
    with pytest.raises(InvalidTemplateError, match=complaint):
        Template(text)


def test_several_lines_are_an_ensemble() -> None:
    template = Template("a photo of a {}.\n\n  art of a <class>  \n")
    assert template.lines == ("a photo of a <CLASS>.", "art of a <CLASS>")
    assert template.fill("dog") == ("a photo of a dog.", "art of a dog")


@pytest.mark.parametrize(
    "name",
    ["{}", "<CLASS>", "{label} {0}", "C++ \\1", "ÄÖÜ 日本 🐕", "%s", "word " * 60, "a\tb"],
    ids=str.strip,
)
def test_a_class_name_is_filled_in_literally(name: str) -> None:
    assert Template("a <CLASS>, drawn").fill(name) == (f"a {name}, drawn",)


def test_underscores_in_a_class_name_become_spaces() -> None:
    assert DEFAULT_TEMPLATE.fill("german_shepherd") == ("a photo of a german shepherd.",)


@given(slotted_text)
@example("{\n}")
@example("<CLASS>{\n}")
@example("<claſſ>")
@example("{\u200b}")
@example("<CLASS> or {cl\u202eass}")
def test_repair_gives_a_template_of_any_text(text: str) -> None:
    repaired = Template.repair(text)
    assert all(line.count(SLOT) == 1 for line in repaired.lines)
    assert repaired.lines
    assert Template.repair(repaired.text) == repaired


@given(st.lists(slotted_text, max_size=4).map("\n".join))
def test_repair_changes_no_text_that_is_a_template(text: str) -> None:
    try:
        template = Template(text)
    except InvalidTemplateError:
        return
    assert Template.repair(text) == template


def test_repair_keeps_the_lines_with_a_slot() -> None:
    assert Template.repair("Classify well!\na photo of a {}.\nThanks").text == (
        "a photo of a <CLASS>."
    )


def test_repair_puts_the_class_first_where_there_is_no_slot() -> None:
    assert Template.repair("Look closely.\nThen decide.").text == (
        "<CLASS>. Look closely. Then decide."
    )


def test_repair_keeps_the_first_of_several_slots_in_a_line() -> None:
    assert Template.repair("a <CLASS>, only a <CLASS>").text == "a <CLASS>, only a it"


@given(slotted_text, st.text())
def test_filling_leaves_no_slot_of_the_template(text: str, name: str) -> None:
    template = Template.repair(text)
    for line, filled in zip(template.lines, template.fill(name), strict=True):
        assert filled == re.sub(SLOT, lambda _: name.replace("_", " "), line, count=1)


@pytest.mark.parametrize(
    ("hidden", "name"),
    [
        ("\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("\u200b", "U+200B ZERO WIDTH SPACE"),
        ("\x1b", "U+001B CONTROL CHARACTER"),
        ("\U000e0041", "U+E0041 TAG LATIN CAPITAL LETTER A"),
    ],
)
def test_a_hidden_character_is_refused_by_its_name_and_left_out_by_repair(
    hidden: str, name: str
) -> None:
    with pytest.raises(InvalidTemplateError) as refused:
        Template(f"a {hidden}photo of a <CLASS>.")
    assert name in str(refused.value)
    assert hidden not in str(refused.value)
    assert Template.repair(f"a {hidden}photo of a <CLASS>.").text == "a photo of a <CLASS>."
    assert Template.repair(f"a {hidden}photo").text == "<CLASS>. a photo"
