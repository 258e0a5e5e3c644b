from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest
from PIL import Image

from ipo_dspy.local_models.engine import VisionEngine
from ipo_dspy.prompts.wording import DescribeImage

ARCHITECTURES = ["blip-2", "fuyu", "llava", "llava_next", "qwen2_vl", "qwen2_5_vl"]
PICTURES = [
    Image.new("RGB", (20, 20), "red"),
    Image.radial_gradient("L").resize((30, 18)).convert("RGB"),
    Image.linear_gradient("L").resize((16, 40)).convert("RGB"),
]
Save = Callable[[str], Path]


def describe(engine: VisionEngine, picture: Image.Image, **config: Any) -> str:
    lm = dspy.LM("hf/tiny", engine=engine, cache=False)
    settings = {"temperature": 1.0, "seed": 3, "max_tokens": 6, **config}
    predict = dspy.Predict(DescribeImage)
    return str(predict(image=dspy.Image(picture), lm=lm, config=settings).description)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_describes_what_it_sees(
    saved_vision_model: Save, architecture: str
) -> None:
    engine = VisionEngine(saved_vision_model(architecture))
    descriptions = [describe(engine, picture) for picture in PICTURES]
    assert len(set(descriptions)) > 1
    assert describe(engine, PICTURES[0]) == descriptions[0]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_describes_as_if_alone(saved_vision_model: Save, architecture: str) -> None:
    alone = VisionEngine(saved_vision_model(architecture), max_batch=1)
    together = VisionEngine(saved_vision_model(architecture))
    sizes: list[int] = []
    inputs = together.inputs
    together.inputs = lambda rows: (sizes.append(len(rows)), inputs(rows))[1]  # type: ignore[method-assign]
    with ThreadPoolExecutor(len(PICTURES)) as pool:
        batched = list(pool.map(lambda picture: describe(together, picture), PICTURES))
    assert batched == [describe(alone, picture) for picture in PICTURES]
    assert max(sizes) > 1


@pytest.mark.slow
def test_several_images_in_one_request_reach_the_model(saved_vision_model: Save) -> None:
    engine = VisionEngine(saved_vision_model("qwen2_vl"))
    lm = dspy.LM("hf/tiny", engine=engine, cache=False)
    images = [dspy.Image(picture) for picture in PICTURES]
    predict = dspy.Predict("images: list[dspy.Image] -> answer")
    tokens = []
    for count in (1, 3):
        predict(images=images[:count], lm=lm, config={"max_tokens": 2})
        tokens.append(lm.history[-1]["usage"]["prompt_tokens"])
    assert tokens[1] > tokens[0]


def test_a_text_model_is_no_vision_model(saved_model: Callable[..., Path]) -> None:
    with pytest.raises(dspy.LMUnsupportedModelError, match="no image-text-to-text model"):
        describe(VisionEngine(saved_model()), PICTURES[0])


def test_own_code_needs_leave(own_code_model: Path) -> None:
    with pytest.raises(dspy.LMUnsupportedModelError, match="trust_remote_code=True"):
        describe(VisionEngine(own_code_model), PICTURES[0])


def test_own_code_answers_through_its_chat(own_code_model: Path) -> None:
    engine = VisionEngine(own_code_model, trust_remote_code=True)
    first, again, other = (describe(engine, PICTURES[0], seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first.startswith("red 255")
    assert "describe the image in detail" in first
    assert "##" not in first
