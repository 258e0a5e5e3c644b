"""How was the demo encoder trained?

python -m benchmarks.train_demo_encoder --out ipo_dspy/demo/weights

First the convolutions learn to name class and medium. Then the pooling and the text tower learn by
CLIP's contrast, with every batch a grid of classes and media. At last the logit scale alone learns
from naming the objects of new pictures, so that probabilities mean what they say. Two runs with the
same settings agree up to the order in which threads add.
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

import open_clip
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.demo_pictures import Pictures, Vocabulary, prepare
from benchmarks.measure_demo_encoder import RIGHT
from ipo_dspy.demo.encoder import WEIGHTS_FORMAT, load_demo_model, read_config
from ipo_dspy.demo.world import CLASSES, MEDIA, draw, picture_seed


@dataclass(frozen=True)
class Settings:
    """One training run.

    `per_pair` counts the pictures of a class in a medium; `trunk_steps` and `trunk_batch` belong to
    the first stage, `steps` and `classes` (in a batch, each in every medium) to the second; `views`
    is how many shifts of each picture the second stage sees; `strictness` is how much the hardest
    negatives weigh at last, in logits; `scale_limit` bounds the logit scale in the second stage;
    `scale_steps` belong to the third, which sees `scale_pictures` of each class and medium.
    """

    out: Path
    seed: int = 0
    per_pair: int = 80
    trunk_steps: int = 2400
    trunk_batch: int = 64
    trunk_learning_rate: float = 2e-3
    views: int = 2
    steps: int = 700
    classes: int = 12
    learning_rate: float = 1e-3
    strictness: float = 7.0
    scale_limit: float = 10.0
    scale_steps: int = 400
    scale_pictures: int = 2
    workers: int = 2
    threads: int = 2


def train(settings: Settings) -> None:
    """Train and save."""
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    config = read_config()
    size = config["vision_cfg"]["image_size"]
    pictures = prepare(settings.seed, settings.per_pair, size, settings.workers)
    vocabulary = Vocabulary(pictures)
    print(f"{len(pictures.pixels)} pictures, {len(vocabulary)} tokens", flush=True)
    compact = {**config, "text_cfg": {**config["text_cfg"], "vocab_size": len(vocabulary)}}
    model = open_clip.CLIP(**compact).to(memory_format=torch.channels_last)
    train_trunk(model, pictures, settings)
    seen = see(model, pictures, settings)
    train_contrastive(model, pictures, seen, vocabulary, settings)
    save(model, vocabulary, settings.out)
    learn_scale(settings)


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
    chance = random.Random(settings.seed)
    supply = batches(pictures, settings)
    for step in range(1, settings.steps + 1):
        index = next(supply)
        strictness = settings.strictness * min(1.0, step / (0.6 * settings.steps))
        ids, offset = choose_captions(pictures, index, chance, strictness)
        with torch.autocast("cpu", torch.bfloat16):
            view = seen[chance.randrange(len(seen)), index]
            images = functional.normalize(model.visual.attnpool(view).float(), dim=-1)
            texts = encode_text(model, vocabulary.renumber(ids))
        loss = contrastive_loss(model.logit_scale.exp(), images, texts, offset)
        descent.step(loss)
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(settings.scale_limit))
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)


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


# Third stage


def learn_scale(settings: Settings) -> None:
    """Teach saved weights the logit scale alone, by what the encoder is for: naming objects.

    The pictures trained nothing, and one caption for each medium is filled with every class name.
    What is learned is the scale at which cosines are the most likely probabilities, at most 100 as
    in CLIP (Radford et al. 2021, section 2.5).
    """
    model, preprocess, tokenizer = load_demo_model(settings.out)
    cosines = []
    with torch.no_grad():
        for medium in MEDIA:
            pixels = torch.stack(
                [
                    preprocess(
                        draw(name, medium, picture_seed("encoder", settings.seed + 1, index))
                    )
                    for name in CLASSES
                    for index in range(settings.scale_pictures)
                ]
            )
            texts = tokenizer([RIGHT[medium].replace("<CLASS>", name) for name in CLASSES])
            images = model.encode_image(pixels, normalize=True)
            cosines.append(images @ model.encode_text(texts, normalize=True).T)
    labels = torch.arange(len(CLASSES)).repeat_interleave(settings.scale_pictures)
    scale = nn.Parameter(model.logit_scale.detach().clone())
    descent = Descent([scale], settings.scale_steps, 2e-2)
    for _ in range(settings.scale_steps):
        logits = scale.exp() * torch.cat(cosines)
        descent.step(functional.cross_entropy(logits, labels.repeat(len(MEDIA))))
        with torch.no_grad():
            scale.clamp_(max=math.log(100))
    print(f"logit scale {scale.exp().item():.2f}", flush=True)
    file = settings.out / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    tensors["logit_scale"] = scale.detach()
    safetensors.torch.save_file(tensors, file, metadata={"format": WEIGHTS_FORMAT})


# All stages


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
    (folder / "model_config.json").write_text(json.dumps(read_config(), indent=2) + "\n")


def main() -> None:
    """Read the settings from the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    for field in dataclasses.fields(Settings)[1:]:
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, type=type(field.default), default=field.default)
    parser.add_argument(
        "--only-scale", action="store_true", help="run the third stage on the weights in --out"
    )
    options = vars(parser.parse_args())
    work = learn_scale if options.pop("only_scale") else train
    settings = Settings(**options)
    print(settings)
    work(settings)


if __name__ == "__main__":
    main()
