"""Class weights: the found prompt as a matrix, for any code that has image features."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.base import Found
from ipo_dspy.exports.texts import check_without_demos

if TYPE_CHECKING:
    from torch import Tensor

    from ipo_dspy.encoders.base import Encoder
    from ipo_dspy.features.embedder import Embedder
    from ipo_dspy.programs.prompt import Prompt


class WeightsExporter:
    """Writes the class features as safetensors: whatever the prompt is, one row for each class.

    The file has `weights` [C, D] float32, unit length, in the order of the class names, and
    `logit_scale` and `logit_bias`, numbers. Unit-length image features [N, D] of the same encoder
    give logits by `logit_scale * features @ weights.T + logit_bias`. The one entry
    `ipo_dspy` of the metadata is JSON: `classnames`, `templates` and `encoder`, and
    `class_texts` by class name where there are texts for single classes.
    """

    suffix = ".safetensors"

    def write(self, path: Path, found: Found) -> None:
        """Write the weights; see `Exporter.write`.

        Raises:
            ArgumentError: the image tower is prompted or images change the classes, as in MaPLe and
                CoCoOp, so that no matrix classifies alike; `program` can carry that.
        """
        from safetensors.torch import save_file

        check_without_demos(found, "A matrix of weights compares images with classes alone")
        program = found.program
        program.describe_classes()
        predict, embedder = program.predict, program.embedder
        prompt = predict.prompt()
        weights = prompt.class_features(embedder, predict.classnames).detach().float().contiguous()
        scale, bias = _scale_and_bias(embedder.encoder, weights.shape[1])
        if not _is_linear(prompt, embedder, predict.classnames, weights * scale, bias):
            raise ArgumentError(
                "No matrix of weights classifies as this program does: its learned prompt changes "
                "images, or classes beside each image. Export it as `program`."
            )
        meaning: dict[str, object] = {
            "classnames": list(predict.classnames),
            "templates": list(predict.effective_templates),
            "encoder": embedder.encoder.spec,
        }
        texts = predict.class_texts
        if described := {name: texts[name] for name in predict.classnames if name in texts}:
            meaning["class_texts"] = described
        # The library orders several entries by chance, and equal finds would give unequal files.
        metadata = {"ipo_dspy": json.dumps(meaning, ensure_ascii=False)}
        tensors = {"weights": weights, "logit_scale": scale.clone(), "logit_bias": bias.clone()}
        save_file(tensors, path, metadata)


def _scale_and_bias(encoder: Encoder, width: int) -> tuple[Tensor, Tensor]:
    """Read the factor and the offset of an encoder's logits off two pairs of features."""
    import torch

    same, other = encoder.logits(torch.eye(width)[:2], torch.eye(width)[:1]).float()[:, 0]
    return (same - other).clone(), other.clone()


def _is_linear(
    prompt: Prompt, embedder: Embedder, classnames: Sequence[str], weights: Tensor, bias: Tensor
) -> bool:
    """Tell whether a prompt classifies a picture as a matrix does on the encoder's own features."""
    import PIL.Image
    import torch

    picture = PIL.Image.effect_noise((64, 64), 90).convert("RGB")
    with torch.no_grad():
        features = prompt.image_features(embedder, [picture])
        expected = prompt.logits(embedder, features, classnames)
        given = embedder.image_features([picture]) @ weights.T + bias
    return bool(torch.allclose(given, expected, atol=1e-2, rtol=1e-3))
