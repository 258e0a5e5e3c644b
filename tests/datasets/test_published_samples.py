"""The samples that publications draw with CoOp's recipe come out of lists of the same form.

The sizes of the classes are those of the datasets; CoOp's own splits put a half of each class,
rounded, into training and a fifth into validation, class after class. The places are those that the
repository of "Multimodality Helps Unimodality" (linzhiqiu/cross_modal_adaptation, folder `indices`)
publishes for these lists. Where a file lies in its list is all that the recipe sees, so the split
files themselves are not needed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipo_dspy.datasets import load_benchmark
from ipo_dspy.datasets.benchmark import Benchmark

# fmt: off
# Flowers102: labels in the order in which classes appear, and the images of each.
FLOWER_LABELS = (
    76, 72, 87, 88, 80, 45, 73, 50, 43, 81, 82, 77, 79, 74, 40, 42, 75, 83, 57, 55, 85, 59, 91,
    10, 64, 7, 22, 29, 71, 52, 36, 16, 11, 28, 51, 17, 35, 89, 70, 39, 47, 54, 84, 90, 19, 46,
    58, 1, 4, 27, 69, 21, 53, 86, 65, 31, 3, 41, 12, 37, 62, 67, 68, 92, 13, 63, 18, 48, 60, 49,
    14, 8, 32, 25, 24, 2, 15, 78, 0, 20, 23, 26, 30, 33, 34, 38, 66, 9, 44, 5, 6, 56, 61, 93,
    94, 95, 96, 97, 98, 99, 100, 101,
)
FLOWER_SIZES = (
    251, 194, 154, 184, 166, 196, 171, 258, 93, 112, 131, 137, 105, 120, 127, 130, 107, 86, 114,
    109, 58, 109, 66, 87, 102, 85, 91, 85, 96, 93, 108, 85, 87, 78, 85, 82, 75, 82, 78, 67, 71,
    71, 63, 76, 56, 67, 67, 60, 65, 66, 62, 59, 61, 63, 61, 45, 56, 59, 49, 56, 54, 54, 54, 46,
    48, 52, 49, 49, 50, 92, 49, 46, 46, 41, 41, 40, 41, 41, 40, 40, 42, 40, 52, 40, 43, 41, 42,
    45, 40, 45, 40, 67, 55, 162, 128, 91, 66, 82, 63, 49, 58, 48,
)
# Seed 1, one shot: places in the lists.
FLOWERS_TRAIN = (
    17, 198, 231, 332, 407, 538, 630, 779, 829, 858, 916, 968, 1055, 1077, 1185, 1255, 1303,
    1319, 1406, 1447, 1481, 1548, 1570, 1626, 1639, 1704, 1727, 1773, 1815, 1903, 1942, 1962,
    2028, 2061, 2114, 2130, 2203, 2222, 2277, 2319, 2357, 2372, 2416, 2440, 2485, 2506, 2555,
    2569, 2591, 2648, 2681, 2715, 2733, 2752, 2783, 2828, 2853, 2885, 2897, 2915, 2963, 2977,
    3017, 3043, 3060, 3081, 3110, 3139, 3148, 3186, 3222, 3255, 3275, 3299, 3315, 3341, 3344,
    3378, 3390, 3415, 3436, 3449, 3475, 3507, 3531, 3543, 3554, 3587, 3611, 3618, 3642, 3690,
    3717, 3769, 3847, 3895, 3911, 3973, 3986, 4025, 4062, 4088,
)
FLOWERS_VAL = (
    37, 87, 101, 130, 167, 222, 243, 263, 321, 351, 373, 389, 421, 446, 465, 497, 516, 540, 551,
    587, 596, 619, 633, 635, 664, 688, 693, 723, 741, 749, 775, 785, 816, 829, 840, 864, 874,
    893, 911, 919, 927, 949, 963, 977, 992, 999, 1014, 1029, 1032, 1057, 1061, 1080, 1084, 1102,
    1116, 1121, 1129, 1147, 1155, 1161, 1182, 1184, 1195, 1205, 1221, 1224, 1238, 1247, 1258,
    1267, 1291, 1294, 1306, 1314, 1319, 1328, 1336, 1346, 1352, 1362, 1370, 1381, 1387, 1399,
    1407, 1410, 1417, 1429, 1440, 1447, 1457, 1471, 1475, 1499, 1518, 1549, 1570, 1578, 1597,
    1607, 1611, 1626,
)
# EuroSAT: images of each class, and places for seed 2, four shots.
LAND_SIZES = (
    3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000,
)
LAND_TRAIN = (
    115, 187, 173, 739, 1846, 2871, 2131, 2015, 4240, 3434, 4242, 3073, 5690, 4824, 5382, 5305,
    6792, 6511, 6864, 6661, 7514, 7274, 7922, 7036, 8056, 8745, 8952, 8652, 10028, 10117, 10326,
    9586, 11897, 11113, 11233, 11222, 12048, 12361, 12665, 12355,
)
LAND_VAL = (
    139, 522, 368, 526, 1173, 786, 1056, 1024, 1737, 1572, 1562, 1570, 2239, 2292, 2028, 1882,
    2788, 2686, 2504, 2666, 3178, 3036, 3135, 3071, 3327, 3450, 3342, 3673, 4210, 4212, 4227,
    4062, 4638, 4752, 4532, 4760, 5272, 5159, 5381, 5370,
)
# fmt: on

# The first images of Flowers102's base classes, seed 1, one shot, as the IPO repository lists them.
FIRST_BASE_FLOWERS = ("01017", "01381", "01575", "02248", "02439", "03137")


def rows(labels: Sequence[int], sizes: Sequence[int], share: float) -> list[tuple[str, int, str]]:
    """One row per image, whose path is its place in the list."""
    of_rows = [
        label for label, size in zip(labels, sizes, strict=True) for _ in range(round(size * share))
    ]
    return [(str(place), label, f"class {label}") for place, label in enumerate(of_rows)]


def drawn(benchmark: str, root: Path, shots: int, seed: int) -> list[list[str]]:
    return [
        [example.image.path.name for example in data.examples]
        for data in load_benchmark(benchmark, root).few_shot(shots, seed)
    ]


def test_flowers_seed_1_one_shot(tmp_path: Path, put_split: Any) -> None:
    train, val = (rows(FLOWER_LABELS, FLOWER_SIZES, share) for share in (0.5, 0.2))
    benchmark: Benchmark = put_split("Flowers102", tmp_path, train, val)
    assert (len(train), len(val)) == (benchmark.counts.train, benchmark.counts.val)
    drawn_train, drawn_val = drawn("Flowers102", tmp_path, shots=1, seed=1)
    assert drawn_train == [str(place) for place in FLOWERS_TRAIN]
    assert drawn_val == [str(place) for place in FLOWERS_VAL]


def test_base_flowers_seed_1_one_shot_begin_with_the_images_of_the_ipo_repository(
    tmp_path: Path, put_split: Any
) -> None:
    train, val = (rows(FLOWER_LABELS, FLOWER_SIZES, share) for share in (0.5, 0.2))
    base = [place for place in FLOWERS_TRAIN if train[place][1] < 51]
    for place, number in zip(base, FIRST_BASE_FLOWERS, strict=False):
        train[place] = (f"image_{number}.jpg", *train[place][1:])
    put_split("Flowers102", tmp_path, train, val)
    few, _ = load_benchmark("Flowers102", tmp_path).few_shot(1, seed=1)
    names = [example.image.path.stem for example in few.base_and_novel()[0].examples]
    assert len(names) == 51
    assert names[:6] == [f"image_{number}" for number in FIRST_BASE_FLOWERS]


def test_eurosat_seed_2_four_shots(tmp_path: Path, put_split: Any) -> None:
    train, val = (rows(range(10), LAND_SIZES, share) for share in (0.5, 0.2))
    benchmark: Benchmark = put_split("EuroSAT", tmp_path, train, val)
    assert (len(train), len(val)) == (benchmark.counts.train, benchmark.counts.val)
    drawn_train, drawn_val = drawn("EuroSAT", tmp_path, shots=4, seed=2)
    assert drawn_train == [str(place) for place in LAND_TRAIN]
    assert drawn_val == [str(place) for place in LAND_VAL]
