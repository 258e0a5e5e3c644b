from pathlib import Path

import pytest

from benchmarks.judging import Judge
from benchmarks.second_world import load_second_encoder, second_task
from ipo_dspy.demo.world import BASE_CLASSES
from ipo_dspy.features.embedder import Embedder

WEIGHTS = Path(__file__).parents[2] / "benchmarks" / "second_world" / "model.safetensors"


def test_the_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size < 4 * 2**20


@pytest.mark.slow
def test_the_right_words_beat_the_default_on_other_classes_than_the_demos(tmp_path: Path) -> None:
    task = second_task(tmp_path)
    assert set(task.train.classnames) != set(BASE_CLASSES)
    judge = Judge(task, Embedder(load_second_encoder()))
    default = judge.judge(task.template).accuracies[2]
    right = judge.judge("a stained glass window showing a <CLASS>.").accuracies[2]
    assert 40 < default < 80
    assert right > default + 5
