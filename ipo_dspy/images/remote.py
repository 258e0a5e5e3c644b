"""Images in an object store or inside a tar file, read through fsspec when they are used."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ipo_dspy.errors import DataError
from ipo_dspy.images.decoding import one_error


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """The bytes of one image in a store that fsspec can reach; small, and reads nothing by itself.

    Attributes:
        url: as fsspec spells it, such as `s3://bucket/cat.jpg`; of the tar file for what is in one.
        version: what the store says of the object: its tag, or time and size. Empty where that is
            not known, so that the image is read to know what it is.
        member: the name within the tar file; empty for a whole object.
        start: the first byte.
        size: how many bytes; None for all that follow.
        content: the bytes, where they were read already.
    """

    url: str
    version: str = ""
    member: str = ""
    start: int = 0
    size: int | None = None
    content: bytes | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.url}::{self.member}" if self.member else self.url

    @property
    def identity(self) -> str:
        """Text that changes with the image."""
        return f"{self}\0{self.start}\0{self.size}\0{self.version}"

    def read(self) -> bytes:
        """Give the bytes.

        Raises:
            UnreadableImage: they cannot be fetched, or there are fewer than there should be.
        """
        if self.content is not None:
            return self.content
        with one_error(str(self)):
            files, path = filesystem(self.url)
            end = None if self.size is None else self.start + self.size
            content: bytes = files.cat_file(path, start=self.start, end=end)
            if self.size is not None and len(content) < self.size:
                raise OSError(f"it ends after {len(content)} of {self.size} bytes")
        return content

    def fetched(self) -> RemoteImage:
        """The same with its bytes.

        Raises:
            UnreadableImage: see `read`.
        """
        return replace(self, content=self.read())


def filesystem(url: str) -> tuple[Any, str]:
    """Find what reads a URL, and what the URL is called there.

    Raises:
        DataError: no installed package reads such URLs.
    """
    from fsspec.core import url_to_fs

    try:
        files, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise DataError(f"{url} cannot be read here: {error}") from error
    return files, path
