import json
from pathlib import Path

import pytest

from ipo_dspy.exports.usage import open_clip_form, usage
from ipo_dspy.prompts.template import Template


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
