from collections.abc import Sequence

import PIL.Image
import pytest
import torch

from ipo_dspy import CLIPClassifier, LabeledImages, Score, Template, clip_acc
from ipo_dspy.features import embedder as embedder_module
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.programs.prompt import TextPrompt
from ipo_dspy.scoring.comparison import (
    Comparison,
    Evaluation,
    Evaluator,
    Verdict,
    check_fit,
    compare,
    h_of,
    harmonic_mean,
    mcnemar,
    sides,
    verdict,
)
from ipo_dspy.scoring.scorers import TensorScorer
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples


@pytest.fixture
def embedder() -> Embedder:
    return Embedder(ColourEncoder())


@pytest.fixture
def images() -> LabeledImages:
    return LabeledImages(tuple(colour_examples(per_colour=2)), tuple(COLOURS))


def test_hits_and_accuracy_tell_the_same(embedder: Embedder, images: LabeledImages) -> None:
    bad, good = Evaluator(embedder, images).evaluate(
        [Template("<CLASS>"), Template("crisp flat <CLASS>")]
    )

    assert good.hits == (True,) * 12
    assert good.score.accuracy == 100.0
    assert bad.score.accuracy == pytest.approx(100 * sum(bad.hits) / 12)
    assert bad.score.accuracy < 100.0


def test_an_evaluation_does_not_depend_on_what_is_evaluated_with_it(
    embedder: Embedder, images: LabeledImages
) -> None:
    templates = [Template("<CLASS>"), Template("crisp <CLASS>")]

    assert (
        Evaluator(embedder, images).evaluate(templates)[1]
        == (Evaluator(Embedder(ColourEncoder()), images).evaluate(templates[1:])[0])
    )


def test_images_beyond_memory_are_encoded_once_for_all_templates(
    images: LabeledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting(ColourEncoder):
        encoded = 0

        def encode_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
            self.encoded += len(images)
            return super().encode_images(images)

    templates = [Template("<CLASS>"), Template("crisp <CLASS>"), Template("a dull <CLASS>")]
    expected = Evaluator(Embedder(ColourEncoder()), images).evaluate(templates)
    monkeypatch.setattr(embedder_module, "IMAGE_MEMORY", 5)
    encoder = Counting()
    assert Evaluator(Embedder(encoder), images).evaluate(templates) == expected
    assert encoder.encoded == len(images)


def test_no_images_is_an_error(embedder: Embedder) -> None:
    with pytest.raises(ValueError, match="at least one image"):
        Evaluator(embedder, LabeledImages((), ("red", "blue")))


def test_a_comparison_counts_what_was_gained_and_lost() -> None:
    def side(*hits: bool) -> Evaluation:
        score = Score(accuracy=100 * sum(hits) / len(hits), loss=1.0, n=len(hits))
        return Evaluation(Template("<CLASS>"), score, hits)

    comparison = Comparison("base", side(True, False, False, True), side(False, True, True, True))
    assert (comparison.gained, comparison.lost) == (2, 1)
    assert comparison.p_value == mcnemar(2, 1)


def test_compare_evaluates_both_prompts(embedder: Embedder, images: LabeledImages) -> None:
    before, after = Template("<CLASS>"), Template("crisp flat <CLASS>")
    comparison = compare("held out", embedder, images, before, after)

    assert (comparison.before.template, comparison.after.template) == (before, after)
    assert comparison.lost == 0


@pytest.mark.parametrize(
    ("gained", "lost", "expected"),
    # Twice the tail of a fair coin: 2 (1 + 5) / 2**5, 2 / 2**10, and all of it.
    [(4, 1, 12 / 32), (1, 4, 12 / 32), (10, 0, 2 / 1024), (3, 3, 1.0), (0, 0, 1.0)],
)
def test_mcnemar_is_twice_the_tail_of_a_fair_coin(gained: int, lost: int, expected: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(expected)


def test_mcnemar_takes_many_images() -> None:
    assert 0.0 < mcnemar(5200, 4800) < 1e-4


@pytest.mark.parametrize(
    ("base", "novel", "expected"), [(40.0, 60.0, 48.0), (50.0, 50.0, 50.0), (0.0, 80.0, 0.0)]
)
def test_h_is_the_harmonic_mean(base: float, novel: float, expected: float) -> None:
    assert harmonic_mean(base, novel) == pytest.approx(expected)


def test_there_is_no_h_without_both_halves() -> None:
    score = Score(accuracy=50.0, loss=1.0, n=2)
    assert h_of({"held-out images": score}) is None
    assert h_of({"base": score, "novel": score}) == pytest.approx(50.0)


def test_a_class_name_that_is_too_long_is_named(embedder: Embedder) -> None:
    long_name = " ".join(["very"] * 20)

    check_fit(embedder, Template("a <CLASS>"), ["red", "blue"])
    with pytest.raises(ValueError, match=long_name):
        check_fit(embedder, Template("a <CLASS>"), ["red", long_name])


def hits(gained: int, lost: int, same: int = 10) -> Comparison:
    score = Score(accuracy=50.0, loss=1.0, n=gained + lost + same)
    before = (False,) * gained + (True,) * lost + (True,) * same
    after = (True,) * gained + (False,) * lost + (True,) * same
    return Comparison(
        "base",
        Evaluation(Template("<CLASS>"), score, before),
        Evaluation(Template("a <CLASS>"), score, after),
    )


@pytest.mark.parametrize(
    ("comparisons", "expected"),
    [
        ([], Verdict.UNKNOWN),
        ([hits(5, 0)], Verdict.TOO_SMALL),
        ([hits(3, 0), hits(3, 0)], Verdict.BETTER),
        ([hits(0, 9)], Verdict.WORSE),
        ([hits(12, 8)], Verdict.SAME),
    ],
)
def test_the_verdict_counts_the_unseen_images_of_all_parts(
    comparisons: list[Comparison], expected: Verdict
) -> None:
    assert verdict(comparisons, kept=False) is expected
    assert verdict(comparisons, kept=True) is Verdict.KEPT


def test_the_ensemble_is_a_third_side_where_every_part_has_one(
    embedder: Embedder, images: LabeledImages
) -> None:
    two = [Template("<CLASS>"), Template("crisp <CLASS>")]
    both = compare("base", embedder, images, *two, ensemble=Template("crisp <CLASS>\nflat <CLASS>"))
    alone = compare("novel", embedder, images, *two)
    assert [side[0].template.text for side in sides([both])] == [
        "<CLASS>",
        "crisp <CLASS>",
        "crisp <CLASS>\nflat <CLASS>",
    ]
    assert len(sides([both, alone])) == 2


def test_texts_for_each_class_are_compared_too(embedder: Embedder, images: LabeledImages) -> None:
    before, after = Template("a <CLASS>"), Template("the <CLASS>")
    texts = dict.fromkeys(COLOURS, ("crisp flat",))

    without = compare("test", embedder, images, before, after)
    compared = compare("test", embedder, images, before, after, class_texts=texts)

    assert without.described is None
    assert compared.described is not None
    assert compared.after.score.accuracy < compared.described.score.accuracy == 100.0
    assert len(sides([compared])) == 3
    assert compared.described.label != compared.after.label


def test_class_texts_score_alike_on_both_paths(embedder: Embedder, images: LabeledImages) -> None:
    prompt = TextPrompt(Template("a <CLASS>"), {"red": ("crisp",)})
    program = CLIPClassifier(
        images.classnames, embedder, prompt.template, class_texts=prompt.class_texts
    )
    scorer = TensorScorer(program.predict, images.examples, clip_acc)

    evaluation = Evaluator(embedder, images).evaluate_prompt(prompt, prompt.template)

    [score] = scorer.score(["a <CLASS>"])
    assert score.accuracy == evaluation.score.accuracy
    assert score.loss == pytest.approx(evaluation.score.loss, abs=1e-5)
    assert tuple((scorer.guesses(prompt.template) == scorer.labels).tolist()) == evaluation.hits
