"""What the offline proposer knows of classes."""

from __future__ import annotations

import dspy
import pytest

from ipo_dspy import CLIPClassifier, IPOOptimizer, offline_lm
from ipo_dspy.demo.proposer.glossary import FACETS, glossary
from ipo_dspy.demo.world import CLASSES
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples


def described(class_name: str, instruction: str, others: tuple[str, ...] = ()) -> tuple[str, ...]:
    program = CLIPClassifier([class_name, *others], ColourEncoder(), describe=9)
    assert program.describe is not None
    program.describe.signature = program.describe.signature.with_instructions(instruction)
    with dspy.context(lm=offline_lm()):
        program.describe_classes()
    return program.class_texts[class_name]


def test_the_glossary_has_all_facets_of_all_classes_of_the_demo() -> None:
    assert set(glossary()) == set(CLASSES)
    for name, entry in glossary().items():
        assert set(entry) == set(FACETS)
        assert not any(name in phrase.split() for of in entry.values() for phrase in of)


@pytest.mark.parametrize("facet", FACETS)
def test_an_instruction_that_names_a_facet_gets_that_facet(facet: str) -> None:
    assert described("cup", f"Name its {facet}.") == tuple(glossary()["cup"][facet])


def test_an_instruction_that_names_none_gets_all() -> None:
    every = [phrase for facet in FACETS for phrase in glossary()["clock"][facet]]

    assert described("clock", "Say something.") == tuple(every)


def test_what_is_said_of_a_confused_class_too_comes_last() -> None:
    first, *_, last = described("spoon", "Say something.", ("fork", "key"))

    assert last == "grey metal"
    assert first != last


def test_of_classes_that_are_not_in_the_glossary_nothing_is_said() -> None:
    assert described("sea lion", "Name its outline.") == ()


def test_the_offline_proposer_varies_which_facets_are_asked_for() -> None:
    program = CLIPClassifier(list(COLOURS), ColourEncoder(), describe=2)
    with dspy.context(lm=offline_lm()):
        found = IPOOptimizer(predictors=["describe"], steps=3, num_threads=1).compile(
            program, trainset=colour_examples()
        )

    tried = [trial.text for trial in found.detailed_results.trials[1:]]
    assert any(f"Name its {facet}." in text for facet in FACETS for text in tried)
