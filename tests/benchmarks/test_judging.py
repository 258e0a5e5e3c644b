import pytest

from benchmarks.judging import Judge
from ipo_dspy import CLIPClassifier
from ipo_dspy.features import embedder
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images import LabeledImages
from ipo_dspy.images.task import Task
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples

TEMPLATE = "a dull <CLASS>"


def test_a_verdict_is_what_the_classifier_says_image_by_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = LabeledImages(tuple(colour_examples(20)), tuple(COLOURS))
    base, novel = images.base_and_novel()
    # So that images are judged in several ranges, the last one short.
    monkeypatch.setattr(embedder, "IMAGES_AT_ONCE", 16)
    encoder = Embedder(ColourEncoder(good_words=()))
    task = Task("colours", base, {"base": base, "novel": novel}, TEMPLATE)
    verdict = Judge(task, encoder).judge(TEMPLATE)
    for part, hits in ((base, verdict.base), (novel, verdict.novel)):
        classify = CLIPClassifier(part.classnames, encoder, TEMPLATE)
        assert list(hits) == [classify(image=e.image).label == e.label for e in part.examples]
    assert 0 < verdict.accuracies[2] < 100
