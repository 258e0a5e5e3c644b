import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.prompts.drafts import FORMS, LINKS, PLACES, Draft, content_words, reads_well
from ipo_dspy.prompts.vocabulary import VOCABULARY

WORDS = {
    "style": VOCABULARY["styles"],
    "colour": VOCABULARY["colours"],
    "look": VOCABULARY["colours"],
    "material": [f"made of {word}" for word in VOCABULARY["materials"]],
    "setting": VOCABULARY["setting"],
    "lighting": VOCABULARY["lighting"],
    "viewpoint": VOCABULARY["viewpoint"],
}


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    pieces = {place: draw(st.sampled_from(["", *WORDS[place]])) for place in PLACES}
    medium = draw(st.sampled_from(VOCABULARY["media"]))
    form = draw(st.sampled_from(FORMS))
    return Draft(medium=medium, link=draw(st.sampled_from(LINKS)), form=form, **pieces)


@given(drafts())
def test_a_rendered_draft_can_be_taken_apart_again(draft: Draft) -> None:
    text = draft.render()
    parsed = Draft.parse(text)
    assert parsed is not None
    assert parsed.render() == text


@given(drafts())
def test_a_rendered_draft_is_one_line_with_one_slot_and_a_full_stop(draft: Draft) -> None:
    text = draft.render()
    assert text.count("<CLASS>") == 1
    assert "\n" not in text
    assert text.endswith(".")
    assert "  " not in text


def test_every_phrase_has_its_place_in_the_sentence() -> None:
    draft = Draft(
        medium="chalk drawing",
        style="rough",
        look="orange",
        setting="on a blackboard",
        viewpoint="seen from above",
        extra="a type of pet",
    )
    assert (
        draft.render() == "a rough chalk drawing of an orange <CLASS> on a blackboard, "
        "seen from above, a type of pet."
    )


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("a photo of an old <CLASS>", "a photo of an old <CLASS>."),
        ("A sketch of the <CLASS>!", "a sketch of the <CLASS>, !."),
        ("an oil painting of my <CLASS>, at night.", "an oil painting of my <CLASS> at night."),
        ("a photo of a <CLASS>, a type of food.", "a photo of a <CLASS>, a type of food."),
    ],
)
def test_words_it_does_not_know_stay(template: str, rendered: str) -> None:
    draft = Draft.parse(template)
    assert draft is not None
    assert draft.render() == rendered


@pytest.mark.parametrize("text", ["itap <CLASS>.", "is it a <CLASS>?", "no slot of a thing.", ""])
def test_what_does_not_read_like_a_picture_of_a_class_has_no_draft(text: str) -> None:
    assert Draft.parse(text) is None


@pytest.mark.parametrize(
    ("template", "well"),
    [
        ("a chalk drawing of a <CLASS> in chalk.", False),
        ("a white photo of a <CLASS> on a white background.", False),
        ("a red photo of a red <CLASS>.", False),
        ("a photo of a <CLASS> on a wall.", True),
    ],
)
def test_a_word_that_comes_twice_reads_badly(template: str, well: bool) -> None:
    assert reads_well(template) is well


def test_a_long_template_reads_badly() -> None:
    assert not reads_well("a photo of a <CLASS> on a wall.", most_words=6)


def test_words_without_meaning_are_not_content() -> None:
    assert content_words("A photo of a red <CLASS> on a wall.") == ("photo", "red", "wall")
