import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ipo_dspy.demo.world import (
    BASE_CLASSES,
    CLASSES,
    MEDIA,
    NOVEL_CLASSES,
    SIZE,
    draw,
    lay_out,
    picture_seed,
    write_folder,
)


def pixels_digest() -> str:
    digest = hashlib.sha256()
    for index, medium in enumerate(MEDIA):
        digest.update(draw(CLASSES[4 * index], medium, seed=index).tobytes())
    return digest.hexdigest()


@pytest.mark.slow
def test_the_same_seed_draws_the_same_pixels_in_another_process() -> None:
    code = f"import runpy; print(runpy.run_path({__file__!r})['pixels_digest']())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == pixels_digest()


def test_another_seed_draws_another_picture() -> None:
    for medium in MEDIA:
        assert draw("cup", medium, 1).tobytes() != draw("cup", medium, 2).tobytes()


def test_the_world_is_large_enough() -> None:
    assert len(set(CLASSES)) >= 40
    assert len(set(MEDIA)) >= 8
    assert BASE_CLASSES + NOVEL_CLASSES == CLASSES
    assert len(BASE_CLASSES) == len(NOVEL_CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("medium", MEDIA)
def test_every_class_can_be_drawn_in_every_medium(medium: str) -> None:
    pictures = [draw(name, medium, seed=0) for name in CLASSES]
    assert all(picture.mode == "RGB" and picture.size == (SIZE, SIZE) for picture in pictures)
    contrasts = [float(np.asarray(picture.convert("L")).std()) for picture in pictures]
    assert min(contrasts) > 4


def test_objects_stay_mostly_inside_the_picture() -> None:
    for name in CLASSES:
        points = np.concatenate([part.points for part in lay_out(name, "photo", seed=3).parts])
        assert ((points > -0.1) & (points < 1.1)).mean() > 0.9


def test_splits_seeds_and_indices_never_share_a_picture() -> None:
    seeds = [
        picture_seed(split, seed, index)
        for split in ("encoder", "train", "test")
        for seed in range(5)
        for index in range(200)
    ]
    assert len(set(seeds)) == len(seeds)


def test_a_folder_holds_one_folder_of_png_files_per_class(tmp_path) -> None:
    write_folder(
        tmp_path, medium="chalk", class_names=("cup", "key"), per_class=3, seed=0, split="train"
    )
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert found == [f"{name}/{i:03d}.png" for name in ("cup", "key") for i in range(3)]
    expected = draw("key", "chalk", picture_seed("train", 0, 2))
    assert Image.open(tmp_path / "key" / "002.png").tobytes() == expected.tobytes()


def test_unknown_class_or_medium_is_named() -> None:
    with pytest.raises(ValueError, match="'dragon'"):
        draw("dragon", "chalk", 0)
    with pytest.raises(ValueError, match="'marble'"):
        draw("cup", "marble", 0)
