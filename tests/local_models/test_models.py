import logging
from collections.abc import Callable
from pathlib import Path

import dspy
import pytest

from ipo_dspy.demo.proposer.offline import OfflineProposer
from ipo_dspy.errors import ArgumentError
from ipo_dspy.local_models.engine import TransformersEngine, VisionEngine
from ipo_dspy.local_models.presets import Preset, read_presets
from ipo_dspy.optimizers.ipo import IPOOptimizer
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.proposing.describers import LMDescriber
from ipo_dspy.proposing.models import Connection, language_model, vision_model
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples

pytestmark = pytest.mark.slow

POSTER = {
    "prompt": ["GPT-3.5-turbo", "Phi-2 2.7B", "Phi-3 7B", "PaLM 2-L", "PaLM 2-L-IT"],
    "image": [
        "FUYU-8B",
        "BLIP-2",
        "Qwen-VL-Chat 9.6B",
        "LLaVA-Llama-3-8B",
        "MiniCPM-V-2 2.8B",
    ],
}
SENTENCE = "chalk drawing of a <CLASS>."


@pytest.mark.parametrize(
    ("spec", "hint"), [("ofline", "did you mean 'offline'"), ("gpt-4o", "write"), ("", "")]
)
def test_a_name_without_a_provider_is_refused_at_once(spec: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"names no model; {hint}"):
        language_model(spec)


def test_servers_of_ones_own_share_no_answers_and_need_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    connection = Connection(api_base="http://localhost:1/v1")
    lm = language_model("openai/x", connection=connection)
    assert not lm.cache
    assert lm.kwargs["api_key"]
    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    assert "api_key" not in language_model("openai/x", connection=connection).kwargs


@pytest.mark.parametrize("role", ["prompt", "image"])
def test_every_model_of_the_poster_has_a_row(role: str) -> None:
    assert [preset.name for preset in read_presets() if preset.role == role] == POSTER[role]


@pytest.mark.parametrize("preset", read_presets(), ids=lambda preset: preset.name)
def test_what_a_row_says_to_use_can_be_made_without_loading(preset: Preset) -> None:
    make = language_model if preset.role == "prompt" else vision_model
    lm = make(preset.use)
    engine = TransformersEngine if preset.role == "prompt" else VisionEngine
    assert isinstance(lm.engine, engine) == preset.use.startswith("hf:")


def test_a_row_that_is_gone_is_told_when_it_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        language_model("openai/gpt-3.5-turbo")
    assert "23 October 2026" in caplog.text


def test_offline_is_the_offline_proposer_and_sees_no_images() -> None:
    assert isinstance(language_model("offline").engine, OfflineProposer)
    with pytest.raises(ValueError, match="sees no images"):
        vision_model("offline")


def test_other_models_are_left_to_dspy() -> None:
    lm = language_model("ollama_chat/llama3.2")
    assert (lm.model, lm.engine) == ("ollama_chat/llama3.2", "auto")


@pytest.mark.parametrize("spec", ["hf:", "hf:@main", "hf:microsoft/phi-2@", "offline:now"])
def test_a_name_that_lacks_a_part_is_refused(spec: str) -> None:
    with pytest.raises(ArgumentError, match="names no model"):
        language_model(spec)


@pytest.mark.parametrize("make", [language_model, vision_model])
def test_a_revision_is_fetched_kept_and_tells_answers_apart(make: Callable[..., dspy.LM]) -> None:
    pinned, newest = make("hf:some/model@v1.2"), make("hf:some/model")
    assert (pinned.engine.model, pinned.engine.revision) == ("some/model", "v1.2")
    assert newest.engine.revision is None
    assert pinned.model != newest.model
    assert pinned.engine.load_state(pinned.engine.dump_state()).revision == "v1.2"


def test_a_folder_may_have_an_at_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "model@home"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    lm = language_model(f"hf:{folder}")
    assert (lm.engine.model, lm.engine.revision) == (str(folder.resolve()), None)


def test_answers_of_a_folder_are_not_cached(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    lm = language_model(f"hf:{tmp_path}")
    assert lm.engine.model == str(tmp_path.resolve())
    assert not lm.cache
    assert language_model("hf:microsoft/phi-2").cache


@pytest.mark.parametrize("prompt_architecture", ["phi", "phi3"])
@pytest.mark.parametrize("image_architecture", ["fuyu", "blip-2", "qwen2_vl", "llava_next", "own"])
def test_from_image_to_description_to_proposal_to_score(
    prompt_architecture: str,
    image_architecture: str,
    taught_model: Callable[[str, str], Path],
    saved_vision_model: Callable[[str], Path],
    own_code_model: Path,
) -> None:
    is_own = image_architecture == "own"
    seeing = own_code_model if is_own else saved_vision_model(image_architecture)
    image_model = vision_model(f"hf:{seeing}", trust_remote_code=is_own)
    image_model.engine.max_tokens = 8
    prompt_model = language_model(f"hf:{taught_model(prompt_architecture, SENTENCE)}")
    program = CLIPClassifier(list(COLOURS), clip=ColourEncoder(good_words=("chalk",)))
    best = IPOOptimizer(
        prompt_model=prompt_model,
        describer=LMDescriber(image_model),
        steps=1,
        prompts_per_step=2,
        images_described=2,
    ).compile(program, trainset=colour_examples())
    assert best.template.text == SENTENCE
    assert best.score == 100
    assert "Image 1:" in str(prompt_model.history[-1]["messages"])
