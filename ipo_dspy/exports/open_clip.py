"""Templates and class names for open_clip and what is built on it."""

from __future__ import annotations

from pathlib import Path

from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.base import Found
from ipo_dspy.exports.texts import open_clip_model, quoted, texts_of, write_json, write_text
from ipo_dspy.images.text_file import read_text


class OpenCLIPExporter:
    """JSON with the arguments of `open_clip.build_zero_shot_classifier`.

    `classnames` and `templates` as it takes them, ensembles included; `model` and `pretrained`
    where the encoder is one of open_clip; `labels`, what the program calls the classes.
    """

    suffix = ".json"

    def write(self, path: Path, found: Found) -> None:
        """Write the arguments; see `Exporter.write`."""
        texts = texts_of(found, "open_clip")
        model = open_clip_model(texts.encoder)
        named = {} if model is None else {"model": model[0], "pretrained": model[1]}
        templates = texts.formatted("{}")
        content = {"classnames": list(texts.names), "templates": templates}
        write_json(path, {**named, **content, "labels": list(texts.labels)})

    def usage(self, path: Path, found: Found) -> tuple[str, ...]:
        """Lines of Python; see `Explained.usage`."""
        is_known = open_clip_model(found.program.embedder.encoder) is not None
        arguments = 'found["model"], found["pretrained"]' if is_known else "MODEL, PRETRAINED"
        name = 'found["model"]' if is_known else "MODEL"
        return (
            "import json, open_clip",
            f'found = json.load(open({quoted(path)}, encoding="utf-8"))',
            f"model, _, preprocess = open_clip.create_model_and_transforms({arguments})",
            "weights = open_clip.build_zero_shot_classifier(",
            f'    model, open_clip.get_tokenizer({name}), found["classnames"], found["templates"])',
            "logits = model.logit_scale.exp() * model.encode_image(images, normalize=True) @ "
            "weights",
        )


class CLIPBenchmarkExporter:
    """A folder with the two files that CLIP_benchmark takes: `templates.json`, `classnames.json`.

    The data set is called `found.dataset`, such as `cifar10` or `wds/cifar10`. Classes must be in
    the order of its labels.
    """

    suffix = ""

    def write(self, path: Path, found: Found) -> None:
        """Write both files; see `Exporter.write`."""
        texts = texts_of(found, "CLIP_benchmark")
        write_json(path / "templates.json", {found.dataset: texts.formatted("{c}")})
        write_json(path / "classnames.json", {found.dataset: list(texts.names)})

    def usage(self, path: Path, found: Found) -> tuple[str, ...]:
        """The command; see `Explained.usage`."""
        model = open_clip_model(found.program.embedder.encoder) or ("MODEL", "PRETRAINED")
        return (
            f"clip_benchmark eval --dataset {found.dataset} --task zeroshot_classification \\",
            f"  --model {model[0]} --pretrained {model[1] or ''} \\",
            f"  --custom_template_file {(path / 'templates.json').absolute()} \\",
            f"  --custom_classname_file {(path / 'classnames.json').absolute()}",
        )


class WebDatasetExporter:
    """The two text files beside the shards of a webdataset, as CLIP_benchmark and DataComp read it.

    `classnames.txt` is left as it is where it is there already with the same names, since labels of
    the shards count its lines.
    """

    suffix = ""

    def write(self, path: Path, found: Found) -> None:
        """Write both files; see `Exporter.write`.

        Raises:
            ArgumentError: the folder has other class names, or a text holds a line break.
        """
        texts = texts_of(found, "A webdataset")
        names = path / "classnames.txt"
        for name in texts.names:
            if len(name.splitlines()) != 1 or name != name.strip():
                raise ArgumentError(
                    f"A webdataset has a class name a line, and {name!r} is none; rename the class."
                )
        if names.exists():
            there = [line.strip() for line in read_text(names).splitlines()]
            if sorted(filter(None, there)) != sorted(texts.names):
                raise ArgumentError(
                    f"{names} names other classes than the program; labels of the shards count its "
                    "lines, so it is left alone. Use for_classes(...) with its names, or another "
                    "folder."
                )
        else:
            write_text(names, "".join(f"{name}\n" for name in texts.names))
        templates = "".join(f"{line}\n" for line in texts.formatted("{c}"))
        write_text(path / "zeroshot_classification_templates.txt", templates)

    def usage(self, path: Path, found: Found) -> tuple[str, ...]:
        """What to do; see `Explained.usage`."""
        return (
            "# Both files belong beside the folder of shards, such as test/0.tar:",
            f"clip_benchmark eval --dataset wds/{path.absolute().name} --dataset_root "
            f"{path.absolute()} ...",
        )
