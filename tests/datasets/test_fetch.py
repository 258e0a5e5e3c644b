import http.server
import socketserver
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torchvision import datasets

from ipo_dspy.datasets import BENCHMARKS, fetch, find_benchmark
from ipo_dspy.errors import DataError

# What torchvision leaves below the root it is given, by benchmark: enough for it to be content.
LEFT_BY_TORCHVISION = {
    "Caltech101": ("caltech-101", "caltech101/101_ObjectCategories/{}", "BACKGROUND_Google/1.jpg"),
    "OxfordPets": ("oxford_pets", "oxford-iiit-pet/{}", "images/a_1.jpg annotations/trainval.txt"),
    "DTD": ("dtd", "dtd/dtd/{}", "images/a/1.jpg labels/train1.txt"),
    "FGVCAircraft": (
        "fgvc_aircraft",
        "fgvc-aircraft-2013b/data/{}",
        "images/1.jpg variants.txt images_variant_train.txt images_variant_val.txt "
        "images_variant_test.txt images_variant_trainval.txt",
    ),
}


def put(root: Path, name: str) -> None:
    folder, below, files = LEFT_BY_TORCHVISION[name]
    for file in files.split():
        path = root / folder / below.format(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("name", LEFT_BY_TORCHVISION)
def test_what_torchvision_has_on_disk_moves_into_coops_layout(name: str, tmp_path: Path) -> None:
    put(tmp_path, name)
    benchmark = find_benchmark(name)
    folder = fetch(name, tmp_path)
    assert folder == tmp_path / benchmark.folder
    for part in benchmark.parts:
        assert (folder / part.path).exists() != part.by_hand
    assert not (folder / str(benchmark.torchvision and benchmark.torchvision.moved)).exists()


@pytest.mark.parametrize("name", ["Food101", "EuroSAT", "SUN397", "Flowers102", "DTD", "ImageNet"])
def test_images_in_place_are_kept_without_asking_torchvision(
    name: str, tmp_path: Path, lay_out: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = find_benchmark(name)
    lay_out(benchmark, tmp_path)
    monkeypatch.delattr(datasets, benchmark.torchvision.dataset)  # type: ignore[union-attr]
    assert fetch(name, str(tmp_path)) == tmp_path / benchmark.folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A web server on this machine for the files in `tmp_path/www`."""
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "www").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Quiet, directory=tmp_path / "www")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_a_download_ends_in_coops_layout(
    server: str, tmp_path: Path, lay_out: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    aircraft = find_benchmark("FGVCAircraft")
    lay_out(aircraft, tmp_path / "made")
    lists = tmp_path / "made/fgvc_aircraft"
    trainval = "".join((lists / f"images_variant_{s}.txt").read_text() for s in ("train", "val"))
    (lists / "images_variant_trainval.txt").write_text(trainval)
    with tarfile.open(tmp_path / "www/fgvc-aircraft-2013b.tar.gz", "w:gz") as archive:
        archive.add(lists, "fgvc-aircraft-2013b/data")
    url = f"{server}/fgvc-aircraft-2013b.tar.gz"
    monkeypatch.setattr(datasets.FGVCAircraft, "_URL", url)
    fetch("FGVCAircraft", tmp_path / "data")
    data = aircraft.load(tmp_path / "data")
    assert len(data.train) == 20
    assert all(example.image.path.is_file() for example in data.train.examples)


def test_a_failed_download_is_one_sentence(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.FGVCAircraft, "_URL", f"{server}/gone.tar.gz")
    with pytest.raises(DataError, match=r"FGVCAircraft could not be fetched \(HTTP Error 404.*see"):
        fetch("FGVCAircraft", tmp_path / "data")


def test_a_server_that_is_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(datasets.FGVCAircraft, "_URL", "http://127.0.0.1:9/a.tar.gz")
    with pytest.raises(DataError, match=r"could not be fetched \(<urlopen error .*; try again"):
        fetch("FGVCAircraft", tmp_path)


@pytest.mark.parametrize("content", [b"<html>moved</html>", b"\x1f\x8b\x08\x00broken"])
def test_an_archive_that_is_none_is_one_sentence(
    server: str, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "www/a.tar.gz").write_bytes(content)
    monkeypatch.setattr(datasets.FGVCAircraft, "_URL", f"{server}/a.tar.gz")
    with pytest.raises(DataError, match="FGVCAircraft could not be fetched"):
        fetch("FGVCAircraft", tmp_path / "data")


class NeedsWhatIsNotInstalled:
    def __init__(self, root: str, download: bool) -> None:
        import not_installed  # type: ignore[import-not-found]  # noqa: F401


def test_what_torchvision_itself_needs_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "Flowers102", NeedsWhatIsNotInstalled)
    with pytest.raises(DataError, match="type: pip install not_installed, then fetch again"):
        fetch("Flowers102", tmp_path)


def test_imagenet_without_its_archives_says_where_to_put_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"put ILSVRC2012_img_train\.tar, .* into .*images"):
        fetch("ImageNet", tmp_path)


@pytest.mark.parametrize("name", ["StanfordCars", "UCF101", "ImageNetV2", "ImageNet-A"])
def test_what_torchvision_cannot_fetch_is_said_with_what_is_needed(
    name: str, tmp_path: Path
) -> None:
    benchmark = find_benchmark(name)
    with pytest.raises(DataError, match=f"torchvision cannot fetch {name}; .*") as caught:
        fetch(name, tmp_path)
    assert all(part.path in str(caught.value) for part in benchmark.parts)


@pytest.mark.parametrize(
    "benchmark", [b for b in BENCHMARKS if b.torchvision], ids=lambda b: b.name
)
def test_torchvision_has_the_class_and_takes_the_arguments(benchmark: Any) -> None:
    import inspect

    dataset = getattr(datasets, benchmark.torchvision.dataset)
    for arguments in benchmark.torchvision.calls:
        inspect.signature(dataset).bind("root", **arguments)
