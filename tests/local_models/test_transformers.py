import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dspy
import pytest
import torch
import transformers
from dspy.lm15 import (
    Config,
    ContextLengthError,
    ImagePart,
    Message,
    Request,
    Response,
    UnsupportedModelError,
)

from ipo_dspy.local_models.engine import Row, TransformersEngine
from ipo_dspy.local_models.generation import Generated, Sampling

Save = Callable[..., Path]


def ask(
    engine: TransformersEngine, text: str = "a photo", seed: int | None = 0, **config: object
) -> Response:
    settings = Config(**{"temperature": 1.0, "max_tokens": 12, "seed": seed, **config})
    message = Message.user(text)
    return engine.complete(Request(model="hf/tiny", messages=(message,), config=settings))


@pytest.mark.slow
@pytest.mark.parametrize("chat_template", [True, False], ids=["chat", "plain"])
@pytest.mark.parametrize("architecture", ["phi", "phi3", "llama"])
def test_every_architecture_answers_through_dspy(
    saved_model: Save, architecture: str, chat_template: bool
) -> None:
    folder = saved_model(architecture) if chat_template else saved_model(architecture, None)
    engine = TransformersEngine(folder, max_tokens=8)
    lm = dspy.LM("hf/tiny", engine=engine, cache=False)
    answered = dspy.Predict("basic_instruction -> prompt")(
        basic_instruction="a photo of a <CLASS>.", lm=lm, config={"temperature": 1.0, "seed": 1}
    )
    assert isinstance(answered.prompt, str)
    assert lm.history[-1]["usage"]["completion_tokens"] <= 8


@pytest.mark.slow
def test_the_answer_depends_on_text_and_seed_alone(saved_model: Save) -> None:
    first, second = TransformersEngine(saved_model()), TransformersEngine(saved_model())
    forwards = [ask(first, seed=seed).message.text for seed in (1, 2, 3)]
    backwards = [ask(second, seed=seed).message.text for seed in (3, 2, 1)]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 3


@pytest.mark.slow
def test_equal_requests_without_a_seed_get_different_answers(saved_model: Save) -> None:
    engine = TransformersEngine(saved_model())
    assert len({ask(engine, seed=None).message.text for _ in range(3)}) == 3


@pytest.mark.slow
def test_rows_of_a_batch_answer_as_if_alone(saved_model: Save) -> None:
    texts = ["a", "a photo of a chalk drawing", "of a <CLASS>", "on a blackboard. " * 9]
    alone = [ask(TransformersEngine(saved_model()), text, seed=7) for text in texts]
    engine = TransformersEngine(saved_model())
    sizes: list[int] = []
    inputs = engine.inputs
    engine.inputs = lambda rows: (sizes.append(len(rows)), inputs(rows))[1]  # type: ignore[method-assign]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: ask(engine, text, seed=7), texts))
    assert [r.message.text for r in together] == [r.message.text for r in alone]
    assert [r.usage for r in together] == [r.usage for r in alone]
    assert max(sizes) > 1


class SmallMemory(TransformersEngine):
    """Runs out of memory with more than two requests at once."""

    def generate(self, rows: Sequence[Row], sampling: Sampling) -> list[Generated]:
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return super().generate(rows, sampling)


@pytest.mark.slow
def test_a_batch_that_does_not_fit_in_memory_is_halved(saved_model: Save) -> None:
    engine = SmallMemory(saved_model())
    ask(engine)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: ask(engine, seed=seed).message.text, range(8)))
    assert together == [ask(engine, seed=seed).message.text for seed in range(8)]


@pytest.mark.slow
def test_temperature_zero_takes_the_likeliest_tokens(saved_model: Save) -> None:
    engine = TransformersEngine(saved_model())
    assert len({ask(engine, seed=seed, temperature=0).message.text for seed in range(3)}) == 1


def test_an_answer_ends_at_max_tokens_and_says_so(saved_model: Save) -> None:
    response = ask(TransformersEngine(saved_model()), max_tokens=5, temperature=0)
    assert response.usage.output_tokens == 5
    assert response.finish_reason == "length"


@pytest.mark.slow
def test_an_answer_ends_before_a_stop_text(saved_model: Save) -> None:
    engine = TransformersEngine(saved_model())
    whole = ask(engine, max_tokens=30, seed=0).message.text
    stop = whole[len(whole) // 2 :][:3]
    response = ask(engine, max_tokens=30, seed=0, stop=(stop,))
    assert response.message.text == whole[: whole.index(stop)].strip()
    assert response.finish_reason == "stop"
    assert response.usage.output_tokens < 30


def test_input_tokens_do_not_count_padding(saved_model: Save) -> None:
    engine = TransformersEngine(saved_model())
    with ThreadPoolExecutor(2) as pool:
        short, long = pool.map(lambda text: ask(engine, text), ["a", "a photo of a <CLASS>. " * 9])
    assert short.usage.input_tokens + 30 < long.usage.input_tokens


@pytest.mark.slow
def test_a_system_text_survives_a_template_without_system_role(saved_model: Save) -> None:
    template = (
        "{% for message in messages %}{% if message['role'] == 'system' %}"
        "{{ raise_exception('no system role') }}{% endif %}{{ message['content'] }}{% endfor %}"
    )
    folder = saved_model("phi", template)
    engine = TransformersEngine(folder)
    engine.loaded.tokenizer.chat_template = template
    request = Request(model="m", system="be brief", messages=(Message.user("hello"),))
    with_system = engine.complete(request).usage.input_tokens
    alone = engine.complete(Request(model="m", messages=(Message.user("hello"),)))
    assert with_system > alone.usage.input_tokens


def test_a_request_that_fills_the_context_is_refused(saved_model: Save) -> None:
    with pytest.raises(ContextLengthError, match="takes 4096"):
        ask(TransformersEngine(saved_model()), "a photo of " * 2000)


def test_images_are_refused(saved_model: Save) -> None:
    message = Message.user([ImagePart(data="iVBORw0KGgo=")])
    with pytest.raises(ValueError, match="has an image"):
        TransformersEngine(saved_model()).complete(Request(model="m", messages=(message,)))


@pytest.mark.parametrize("name", ["nobody/no-such-model", "/no/such/folder"])
def test_a_model_that_is_not_there_is_told_in_one_sentence(name: str) -> None:
    with pytest.raises(UnsupportedModelError, match="cannot be loaded") as caught:
        ask(TransformersEngine(name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value).partition("To fix")[0].strip()


def test_remote_code_needs_leave(saved_model: Save, tmp_path: Path) -> None:
    config = {
        "model_type": "own",
        "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text("raise SystemExit('ran remote code')")
    with pytest.raises(UnsupportedModelError, match="trust_remote_code=True"):
        ask(TransformersEngine(tmp_path, tokenizer=saved_model()))


@pytest.mark.slow
def test_model_and_tokenizer_come_from_the_revision_that_is_asked_for(
    saved_model: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    for auto in (transformers.AutoModelForCausalLM, transformers.AutoTokenizer):
        real = auto.from_pretrained
        monkeypatch.setattr(
            auto,
            "from_pretrained",
            lambda *names, real=real, **options: (
                asked.append(options["revision"]) or real(*names, **options)
            ),
        )
    ask(TransformersEngine(saved_model(), revision="v1.2"))
    assert asked == ["v1.2", "v1.2"]


@pytest.mark.slow
def test_a_model_without_a_padding_token_answers_in_batches(saved_model: Save) -> None:
    engine = TransformersEngine(saved_model("phi"))
    engine.loaded.tokenizer.pad_token = engine.loaded.tokenizer.eos_token
    alone = [ask(engine, text, seed=7) for text in ("a", "a photo of a chalk drawing")]
    with ThreadPoolExecutor(2) as pool:
        together = list(
            pool.map(lambda text: ask(engine, text, seed=7), ("a", "a photo of a chalk drawing"))
        )
    assert together == alone


@pytest.mark.slow
def test_requests_of_other_settings_do_not_share_a_batch(saved_model: Save) -> None:
    engine = TransformersEngine(saved_model())
    ask(engine)
    with ThreadPoolExecutor(4) as pool:
        lengths = list(
            pool.map(
                lambda most: ask(engine, max_tokens=most, temperature=0).usage.output_tokens,
                (3, 5, 3, 5),
            )
        )
    assert lengths == [3, 5, 3, 5]


@pytest.mark.slow
def test_a_closed_engine_loads_again(saved_model: Save) -> None:
    engine = TransformersEngine(saved_model())
    before = ask(engine).message.text
    engine.close()
    assert ask(engine).message.text == before


def test_an_engine_survives_saving(saved_model: Save) -> None:
    lm = dspy.LM("hf/tiny", engine=TransformersEngine(saved_model(), max_tokens=7))
    loaded = dspy.LM.load_state(lm.dump_state(), allow_custom_lm_class=True)
    assert loaded.engine.dump_state() == lm.engine.dump_state()
