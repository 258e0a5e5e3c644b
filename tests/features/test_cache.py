from pathlib import Path

import pytest

from ipo_dspy.features.cache import cache_folder, cache_limit, clear, info, trim, unfinished


def test_an_argument_comes_before_the_environment_and_that_before_the_usual_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("IPO_DSPY_CACHE", "")
    assert cache_folder() == tmp_path / "ipo_dspy"
    monkeypatch.setenv("IPO_DSPY_CACHE", "relative")
    assert cache_folder() == Path.cwd() / "relative"
    assert cache_folder(tmp_path / "argument") == tmp_path / "argument"
    for off in ("off", "OFF"):
        assert cache_folder(off) is None


def test_without_a_cache_there_is_nothing_to_see_or_to_clear() -> None:
    assert info("off").folder is None
    assert clear("off").bytes == 0


def test_the_limit_is_a_number_of_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_limit() == 5_000_000_000
    monkeypatch.setenv("IPO_DSPY_CACHE_GB", "0.5")
    assert cache_limit() == 500_000_000
    monkeypatch.setenv("IPO_DSPY_CACHE_GB", "plenty")
    with pytest.raises(ValueError, match="IPO_DSPY_CACHE_GB must be a number of gigabytes"):
        cache_limit()


def test_what_a_killed_process_left_unfinished_goes_too(tmp_path: Path) -> None:
    folder = tmp_path / "features" / "encoder"
    folder.mkdir(parents=True)
    left = [unfinished(folder / "a.safetensors") for _ in range(2)]
    for file in left:
        file.write_bytes(b"half")
    assert info(tmp_path).bytes == 8
    trim(tmp_path, limit=4)
    assert sum(file.exists() for file in left) == 1
    clear(tmp_path)
    assert not any(file.exists() for file in left)


def test_files_that_cannot_be_read_are_shown_without_an_encoder(tmp_path: Path) -> None:
    folder = tmp_path / "features" / "encoder"
    folder.mkdir(parents=True)
    (folder / "a.safetensors").write_bytes(b"nonsense")
    [shown] = info(tmp_path).encoders
    assert (shown.spec, shown.images, shown.files, shown.bytes) == ("", 0, 1, 8)
