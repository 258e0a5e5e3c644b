import json
from pathlib import Path

import pytest

from ipo_dspy import CLIPClassifier
from ipo_dspy.exports.usage import Way, open_clip_form, usage, ways
from ipo_dspy.prompts.template import Template
from ipo_dspy.testing import ColourEncoder


@pytest.mark.parametrize("text", ["a <CLASS>.", 'a "{{x}}" of <CLASS>\\', "größe: <CLASS>"])
def test_the_form_for_open_clip_fills_as_the_template_does(text: str) -> None:
    template = Template(text)
    [filled] = template.fill("cat")
    assert json.loads(open_clip_form(template)).format("cat") == filled


def test_an_ensemble_has_a_text_for_each_line() -> None:
    assert open_clip_form(Template("a <CLASS>\nthe <CLASS>")) == '"a {}", "the {}"'


def test_paths_with_quotes_are_still_python() -> None:
    for line in usage(Path('it\'s "mine"/program.json'), Path("back\\slash.png")):
        compile(line, "usage", "exec")


def classifier(template: str, names: tuple[str, ...] = ("cat", "fire_truck")) -> CLIPClassifier:
    return CLIPClassifier(names, ColourEncoder(), template)


def lines_of(found: list[Way], name: str) -> str:
    [way] = [way for way in found if way.name == name]
    return "\n".join(way.lines)


def test_the_lines_are_python_whatever_the_texts_hold() -> None:
    program = classifier('a "{q}" \\ of <CLASS>', ('it\'s "x"', "größe\nrot"))
    for saved in (None, Path('a "run"/program.json')):
        found = ways(program, saved, Path("back\\slash.png"))
        for way in found[: 3 if saved else None]:
            compile("\n".join(way.lines), way.name, "exec")


def test_an_ensemble_is_no_line_for_a_tool_that_takes_one_template() -> None:
    names = [way.name for way in ways(classifier("a <CLASS>\nthe <CLASS>"), None)]
    assert names == ["Python", "open_clip"]


def test_open_clip_is_told_names_and_templates_as_it_fills_them() -> None:
    lines = lines_of(ways(classifier("a {} {{x}}"), None), "open_clip")
    scope: dict[str, list[str]] = {}
    exec("\n".join(line for line in lines.splitlines() if " = [" in line), scope)
    assert [scope["templates"][0].format(name) for name in scope["class_names"]] == [
        "a cat {{x}}",
        "a fire truck {{x}}",
    ]


def test_very_many_names_are_not_written_out() -> None:
    program = classifier("a <CLASS>", tuple(f"class {n}" for n in range(3000)))
    assert all(len(line) < 2000 for way in ways(program, None) for line in way.lines)
