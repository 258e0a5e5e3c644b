import random
import statistics

from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.prompts.drafts import content_words, reads_well
from ipo_dspy.prompts.evidence import Evidence
from ipo_dspy.prompts.writing import TemplateWriter

NOTHING = Evidence(seen={}, success={}, phrases=())
DEFAULT = "a photo of a <CLASS>."
DESCRIPTIONS = ["silhouette, chalk, blackboard, noisy", "shadow, chalk drawing, white, wall"]
GOOD = {"chalk": 30.0, "drawing": 10.0, "blackboard": 20.0, "white": 10.0}
"""What each word of a template is worth in the toy task."""


def worth(template: str) -> float:
    return sum(GOOD.get(word, 0.0) for word in set(content_words(template)))


def best_after(calls: int, seed: int, *, learns: bool) -> float:
    scores = {DEFAULT: worth(DEFAULT)}
    for call in range(calls):
        history = sorted(scores, key=lambda text: scores[text])[-20:] if learns else []
        weights = Evidence.of(DESCRIPTIONS, history) if learns else NOTHING
        writer = TemplateWriter(history, weights, random.Random(f"{seed}/{call}"))
        text = writer.write(scores.__contains__)
        scores[text] = worth(text)
    return max(scores.values())


def test_learning_from_history_and_descriptions_beats_random_search() -> None:
    learned = [best_after(50, seed, learns=True) for seed in range(8)]
    searched = [best_after(50, seed, learns=False) for seed in range(8)]
    assert statistics.mean(learned) > statistics.mean(searched) + 10


@given(st.integers(0, 2**31), st.lists(st.sampled_from([DEFAULT, "a red icon of a <CLASS>."])))
def test_templates_read_well_and_are_new(seed: int, prompts: list[str]) -> None:
    writer = TemplateWriter(prompts, Evidence.of(DESCRIPTIONS, prompts), random.Random(seed))
    text = writer.write(lambda text: text in prompts)
    assert reads_well(text)
    assert text not in prompts
    assert text.count("<CLASS>") == 1


def test_phrases_outside_the_vocabulary_are_taken_from_descriptions() -> None:
    weights = Evidence.of(["risograph print, gritty texture", "risograph print, plain"], [])
    texts = [
        TemplateWriter([], weights, random.Random(i)).write(lambda _: False) for i in range(80)
    ]
    assert any("risograph print of" in text for text in texts)


def test_a_short_limit_is_kept() -> None:
    texts = [
        TemplateWriter([DEFAULT], NOTHING, random.Random(seed)).write(lambda _: False, most_words=7)
        for seed in range(50)
    ]
    assert max(len(text.split()) for text in texts) <= 7


def test_prompts_that_cannot_be_taken_apart_do_not_stop_it() -> None:
    writer = TemplateWriter(["<CLASS>!", "itap."], NOTHING, random.Random(0))
    assert "<CLASS>" in writer.write(lambda _: False)
