from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from torch import nn

from ipo_dspy import load_encoder
from ipo_dspy.encoders.weights import weights_digest


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2).half())


def test_the_same_weights_have_the_same_digest(model: nn.Module) -> None:
    before = weights_digest(model)
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    assert weights_digest(model) == before


@pytest.mark.parametrize("name", ["0.weight", "1.running_mean", "1.num_batches_tracked", "2.bias"])
def test_any_change_changes_the_digest(name: str, model: nn.Module) -> None:
    before = weights_digest(model)
    model.state_dict()[name].view(-1)[0] += 1
    assert weights_digest(model) != before


@pytest.mark.slow
def test_a_checkpoint_written_anew_under_the_same_name_is_another_encoder(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    tensors = load_file(checkpoint("tiny-vit"))
    save_file(tensors, file)
    first = load_encoder(f"open_clip:tiny-vit/{file}").image_fingerprint
    again = load_encoder(f"open_clip:tiny-vit/{file}").image_fingerprint
    half = load_encoder(f"open_clip:tiny-vit/{file}", precision="bfloat16").image_fingerprint
    save_file({**tensors, "visual.proj": tensors["visual.proj"] + 1}, file)
    changed = load_encoder(f"open_clip:tiny-vit/{file}").image_fingerprint

    assert first == again
    assert len({first, half, changed}) == 3
