"""What a saved program may hold: data of known kinds, checked before any of it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ipo_dspy.errors import ArgumentError, StorageError
from ipo_dspy.runs.folder import read_whole

_Kind = TypeVar("_Kind", bound=BaseModel)
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Saved(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class SavedTipAdapter(_Saved):
    """The two numbers of a `TipAdapter`."""

    weight: Positive
    sharpness: Positive


class SavedField(_Saved):
    """What DSPy says of a field of a signature."""

    prefix: str
    description: str


class SavedSignature(_Saved):
    """The instructions and the fields, in order."""

    instructions: str
    fields: tuple[SavedField, ...] = Field(min_length=2, strict=False)


class SavedLearned(_Saved):
    """What was learned: the rest of it is read by what learned it."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    learner: str = Field(min_length=1)
    tensors: dict[str, str]


class SavedClip(_Saved):
    """What makes the classifier."""

    encoder: str = Field(min_length=1)
    classnames: tuple[str, ...] = Field(min_length=1, strict=False)
    top_k: int = Field(ge=1)
    demo_cache: SavedTipAdapter | None = None
    class_texts: dict[str, list[str]] | None = None
    learned: SavedLearned | None = None


class SavedDescribe(_Saved):
    """The state of a `DescribePredict`; its language model is left."""

    signature: SavedSignature
    demos: list[dict[str, Any]] = []
    count: int = Field(ge=1)


class SavedPredictor(_Saved):
    """The state of a `CLIPPredict`; what else stands there, such as a language model, is left."""

    signature: SavedSignature
    demos: tuple[dict[str, str], ...] = Field(strict=False)
    clip: SavedClip


def read_predictor(state: Any) -> SavedPredictor:
    """Check the state of a `CLIPPredict`.

    Raises:
        ArgumentError: it is none; the message says where.
    """
    if not isinstance(state, dict) or not isinstance(state.get("clip"), dict):
        raise ArgumentError(
            "This state was not saved by a CLIPPredict: it names no class names and encoder."
        )
    return _read(SavedPredictor, state)


def read_describe(state: Any) -> SavedDescribe:
    """Check the state of a `DescribePredict`.

    Raises:
        ArgumentError: it is none; the message says where.
    """
    return _read(SavedDescribe, state)


def _read(kind: type[_Kind], state: Any) -> _Kind:
    try:
        return kind.model_validate(state)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ArgumentError(
            f"The saved program is damaged at {place}: {first['msg']}. Save it anew."
        ) from error


def read_program(path: str | Path) -> dict[str, Any]:
    """Read the file of a `CLIPClassifier`, and check it.

    Raises:
        ArgumentError: it is no saved CLIPClassifier.
        StorageError: it cannot be read.
    """
    path = Path(path)
    try:
        state = orjson.loads(read_whole(path))
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except orjson.JSONDecodeError as error:
        raise ArgumentError(
            f"{path} is no saved CLIPClassifier: it is no JSON ({error})."
        ) from error
    predict = state.get("predict") if isinstance(state, dict) else None
    if not isinstance(predict, dict) or not isinstance(predict.get("clip"), dict):
        raise ArgumentError(
            f"{path} is no saved CLIPClassifier: it names no class names and encoder."
        )
    try:
        read_predictor(predict)
    except ArgumentError as error:
        raise ArgumentError(f"{path}: {error}") from error
    found: dict[str, Any] = state
    return found


def saved_encoder(path: str | Path) -> str:
    """Name the encoder that a saved program was made with.

    Raises:
        ArgumentError: it is no saved CLIPClassifier.
        StorageError: it cannot be read.
    """
    return read_predictor(read_program(path)["predict"]).clip.encoder
