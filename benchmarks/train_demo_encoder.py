"""How was the demo encoder trained?

python -m benchmarks.train_demo_encoder --out ipo_dspy/demo/weights

First the convolutions learn to name class and medium. Then the pooling and the text tower learn by
CLIP's contrast, with every batch a grid of classes and media. At last the logit scale alone learns
from naming the objects of new pictures, so that probabilities mean what they say. Two runs with
the same settings agree up to the order in which threads add.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.demo_pictures import UNKNOWN, Pictures, Vocabulary, prepare
from benchmarks.measure_demo_encoder import RIGHT
from ipo_dspy.demo.encoder import WEIGHTS_FORMAT
from ipo_dspy.demo.world import CLASSES, MEDIA, draw, picture_seed


@dataclass(frozen=True)
class Settings:
    """One training run.

    `per_pair` counts the pictures of a class in a medium; `trunk_steps` and `trunk_batch` belong to
    the first stage, `steps` and `classes` (in a batch, each in every medium) to the second; `views`
    is how many shifts of each picture the second stage sees; `strictness` is how much the hardest
    negatives weigh at last, in logits; `calibration_steps` belong to the last stage, which sees
    `calibration_pictures` of each class and medium.
    """

    out: Path
    seed: int = 0
    per_pair: int = 80
    trunk_steps: int = 2600
    trunk_batch: int = 64
    trunk_learning_rate: float = 2e-3
    views: int = 2
    steps: int = 700
    classes: int = 12
    learning_rate: float = 1e-3
    strictness: float = 7.0
    calibration_steps: int = 200
    calibration_pictures: int = 2
    workers: int = 2
    threads: int = 2


CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 16, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 96, "heads": 4, "layers": 3},
}
"""The arguments of `open_clip.CLIP`."""

SCALE_LIMIT = 100.0
"""CLIP's bound of the logit scale."""


def train(settings: Settings) -> None:
    """Train and save."""
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    size = CONFIG["vision_cfg"]["image_size"]
    pictures = prepare(settings.seed, settings.per_pair, size, settings.workers)
    vocabulary = Vocabulary(pictures)
    print(f"{len(pictures.pixels)} pictures, {len(vocabulary)} tokens", flush=True)
    compact = {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "vocab_size": len(vocabulary)}}
    model = open_clip.CLIP(**compact).to(memory_format=torch.channels_last)
    train_trunk(model, pictures, settings)
    seen = see(model, pictures, settings)
    train_contrastive(model, pictures, seen, vocabulary, settings)
    calibrate(model, vocabulary, settings)
    save(model, vocabulary, settings.out)


# First stage


def trunk(model: open_clip.CLIP, pixels: Tensor) -> Tensor:
    """Run the image tower on pixels, 0 to 255, up to its pooling: [B, C, 2, 2]."""
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    deviation = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    images = (pixels.float() / 255 - mean) / deviation
    visual = model.visual
    x = visual.stem(images.contiguous(memory_format=torch.channels_last))
    features: Tensor = visual.layer4(visual.layer3(visual.layer2(visual.layer1(x))))
    return features


def train_trunk(model: open_clip.CLIP, pictures: Pictures, settings: Settings) -> None:
    """Teach the convolutions to name class and medium, which contrast alone teaches slowly."""
    width = model.visual.attnpool.c_proj.in_features
    name_class, name_medium = nn.Linear(width, len(CLASSES)), nn.Linear(width, len(MEDIA))
    parameters = [
        *model.visual.parameters(),
        *name_class.parameters(),
        *name_medium.parameters(),
    ]
    descent = Descent(parameters, settings.trunk_steps, settings.trunk_learning_rate)
    chance = random.Random(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    model.train()
    for step in range(1, settings.trunk_steps + 1):
        index = torch.randint(len(pictures.pixels), (settings.trunk_batch,), generator=generator)
        with torch.autocast("cpu", torch.bfloat16):
            features = trunk(model, shifted(pictures.pixels[index], chance))
        pooled = features.mean(dim=(2, 3)).float()
        loss = functional.cross_entropy(name_class(pooled), pictures.class_index[index])
        about_medium = functional.cross_entropy(name_medium(pooled), pictures.medium_index[index])
        descent.step(loss + 0.3 * about_medium)
        if step % 100 == 0:
            print(f"trunk step {step}: loss {loss.item():.3f}", flush=True)


def shifted(pixels: Tensor, chance: random.Random) -> Tensor:
    """Move a batch of pictures by up to four pixels, repeating their edges."""
    x, y = chance.randint(0, 8), chance.randint(0, 8)
    padded = functional.pad(pixels.float(), (4, 4, 4, 4), mode="replicate")
    return padded[..., y : y + pixels.shape[-2], x : x + pixels.shape[-1]]


@torch.no_grad()
def see(model: open_clip.CLIP, pictures: Pictures, settings: Settings) -> Tensor:
    """Run every picture through the finished trunk: [views, N, C, 2, 2] bfloat16."""
    model.eval()
    chance = random.Random(settings.seed)
    views = []
    for _ in range(settings.views):
        with torch.autocast("cpu", torch.bfloat16):
            parts = [trunk(model, shifted(p, chance)) for p in pictures.pixels.split(256)]
        views.append(torch.cat(parts).bfloat16())
    return torch.stack(views)


# Second stage


def train_contrastive(
    model: open_clip.CLIP,
    pictures: Pictures,
    seen: Tensor,
    vocabulary: Vocabulary,
    settings: Settings,
) -> None:
    """Teach pooling and text tower by contrast, the trunk kept as it is."""
    trained = [
        parameter
        for name, parameter in model.named_parameters()
        if not name.startswith("visual.") or name.startswith("visual.attnpool.")
    ]
    descent = Descent(trained, settings.steps, settings.learning_rate)
    lesson = Lesson(model, pictures, seen, vocabulary, settings)
    for step in range(1, settings.steps + 1):
        loss = lesson.loss(settings.strictness * min(1.0, step / (0.6 * settings.steps)))
        descent.step(loss)
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(SCALE_LIMIT))
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)


def calibrate(model: open_clip.CLIP, vocabulary: Vocabulary, settings: Settings) -> None:
    """Teach the logit scale alone, by what the encoder is for: naming the object in a medium.

    The pictures are new, and one caption for each medium is filled with every class name.
    """
    logits = [
        images @ name_classes(model, vocabulary, medium).T
        for medium, images in new_pictures(model, settings)
    ]
    labels = torch.arange(len(CLASSES)).repeat_interleave(settings.calibration_pictures)
    labels = labels.repeat(len(logits))
    cosines = torch.cat(logits)
    descent = Descent([model.logit_scale], settings.calibration_steps, 2e-2)
    for _ in range(settings.calibration_steps):
        descent.step(functional.cross_entropy(model.logit_scale.exp() * cosines, labels))
    print(f"logit scale {model.logit_scale.exp().item():.2f}", flush=True)


@torch.no_grad()
def new_pictures(model: open_clip.CLIP, settings: Settings) -> Iterator[tuple[str, Tensor]]:
    """Encode pictures that trained nothing, medium by medium: [classes * pictures, D]."""
    size = CONFIG["vision_cfg"]["image_size"]
    model.eval()
    for medium in MEDIA:
        drawn = [
            draw(name, medium, picture_seed("encoder", settings.seed + 1, index))
            for name in CLASSES
            for index in range(settings.calibration_pictures)
        ]
        resized = [picture.resize((size, size), Image.Resampling.BICUBIC) for picture in drawn]
        pixels = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in resized])
        features = model.visual.attnpool(trunk(model, pixels))
        yield medium, functional.normalize(features.float(), dim=-1)


@torch.no_grad()
def name_classes(model: open_clip.CLIP, vocabulary: Vocabulary, medium: str) -> Tensor:
    """Encode the right caption of a medium with every class name: [classes, D]."""
    ids = open_clip.SimpleTokenizer()([RIGHT[medium].replace("<CLASS>", c) for c in CLASSES])
    known = torch.isin(ids, vocabulary.ids) | (ids == 0)
    return encode_text(model, vocabulary.renumber(torch.where(known, ids, UNKNOWN)))


class Lesson:
    """Gives the contrastive loss of one batch after the other."""

    def __init__(
        self,
        model: open_clip.CLIP,
        pictures: Pictures,
        seen: Tensor,
        vocabulary: Vocabulary,
        settings: Settings,
    ) -> None:
        self._model, self._pictures, self._seen = model, pictures, seen
        self._vocabulary = vocabulary
        self._chance = random.Random(settings.seed)
        self._supply = batches(pictures, settings)

    def loss(self, strictness: float) -> Tensor:
        """The contrastive loss of the next batch; see `choose_captions`."""
        index = next(self._supply)
        ids, offset = choose_captions(self._pictures, index, self._chance, strictness)
        images, texts = self._encode(index, ids)
        return contrastive_loss(self._model.logit_scale.exp(), images, texts, offset)

    def _encode(self, index: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            view = self._seen[self._chance.randrange(len(self._seen)), index]
            images = functional.normalize(self._model.visual.attnpool(view).float(), dim=-1)
            return images, encode_text(self._model, self._vocabulary.renumber(ids))


def batches(pictures: Pictures, settings: Settings) -> Iterator[Tensor]:
    """Draw batches of picture indices: some classes, each once in every medium.

    So every text meets its class in other media, and its medium with other classes; telling all
    of them apart asks for more than the sum of a class and a medium.
    """
    chance = torch.Generator().manual_seed(settings.seed)
    pair = pictures.class_index * len(MEDIA) + pictures.medium_index
    members = [torch.nonzero(pair == p).flatten() for p in range(len(CLASSES) * len(MEDIA))]
    while True:
        classes = torch.randperm(len(CLASSES), generator=chance)[: settings.classes]
        yield torch.stack(
            [
                members[p][torch.randint(len(members[p]), (), generator=chance)]
                for c in classes.tolist()
                for p in range(c * len(MEDIA), (c + 1) * len(MEDIA))
            ]
        )


def choose_captions(
    pictures: Pictures, index: Tensor, chance: random.Random, strictness: float
) -> tuple[Tensor, Tensor]:
    """Choose a caption for each picture: ids [B, L], and the offset of each pair's logit, [B, B].

    Texts that are true of a picture by chance are no negatives: minus infinity. Texts that name the
    right class in the wrong medium are the hardest negatives, and weigh more by `strictness`.
    """
    captions = pictures.long if chance.random() < 0.08 else pictures.short
    which = torch.tensor([chance.randrange(captions.ids.shape[1]) for _ in index])
    classes, media = captions.class_index[index, which], captions.media[index, which]
    same_class = (classes[None] == -1) | (classes[None] == pictures.class_index[index][:, None])
    same_medium = (media[None] >> pictures.medium_index[index][:, None]) & 1 == 1
    offset = torch.zeros(len(index), len(index))
    offset[same_class & ~same_medium] = strictness
    offset[same_class & same_medium] = float("-inf")
    return captions.ids[index, which], offset.fill_diagonal_(0.0)


def encode_text(model: open_clip.CLIP, ids: Tensor) -> Tensor:
    """Encode as `open_clip.CLIP.encode_text` does, without the padding: unit length, [B, D]."""
    ends = ids.argmax(dim=1)
    length = int(ends.max()) + 1
    x = model.token_embedding(ids[:, :length]) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x[torch.arange(len(x)), ends]) @ model.text_projection
    return functional.normalize(x.float(), dim=-1)


def contrastive_loss(scale: Tensor, images: Tensor, texts: Tensor, offset: Tensor) -> Tensor:
    """CLIP's loss with an offset to each pair's logit, [B, B], row a picture, column a text."""
    logits = scale * images @ texts.T + offset
    target = torch.arange(len(logits))
    by_picture = functional.cross_entropy(logits, target)
    by_text = functional.cross_entropy(logits.T, target)
    return (by_picture + by_text) / 2


# Both stages


class Descent:
    """AdamW with one cycle of the learning rate and clipped gradients."""

    def __init__(self, parameters: Sequence[nn.Parameter], steps: int, rate: float) -> None:
        self._parameters = parameters
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, rate, total_steps=steps, pct_start=0.1
        )

    def step(self, loss: Tensor) -> None:
        """Go one step down."""
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._schedule.step()


def save(model: open_clip.CLIP, vocabulary: Vocabulary, folder: Path) -> None:
    """Write half-precision weights, of the token table only the rows that training touched."""
    tensors = {
        name: tensor.half().contiguous() if tensor.is_floating_point() and tensor.ndim else tensor
        for name, tensor in model.state_dict().items()
    }
    table = tensors.pop("token_embedding.weight")
    tensors["token_ids"] = vocabulary.ids.int()
    tensors["token_rows"] = table[2:].clone()
    tensors["unknown_row"] = table[1].clone()
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(
        tensors, folder / "model.safetensors", metadata={"format": WEIGHTS_FORMAT}
    )
    (folder / "model_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")


def main() -> None:
    """Read the settings from the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    for field in dataclasses.fields(Settings)[1:]:
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, type=type(field.default), default=field.default)
    settings = Settings(**vars(parser.parse_args()))
    print(settings)
    train(settings)


if __name__ == "__main__":
    main()
