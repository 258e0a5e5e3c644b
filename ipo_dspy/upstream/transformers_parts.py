"""The parts of transformers that it does not promise to keep: here, and in no other module."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from transformers import dynamic_module_utils
from transformers.generation import utils as generation
from transformers.integrations import hub_kernels

_lock = threading.RLock()


@contextmanager
def remote_code(*, trusted: bool) -> Iterator[None]:
    """Load a model; unless it is trusted, in a library that cannot run code of models.

    `trust_remote_code=False` does not reach everything that a folder can make the library load: a
    tokenizer class named `AutoModel`, a tower within a model, a kernel for attention. Where it is
    lost on the way the library asks on the terminal, which is an error here too.

    Args:
        trusted: whether the user said that the model's code may run.
    """
    with _lock:
        before = [] if trusted else [(*place, getattr(*place)) for place, _ in _CLOSED]
        try:
            for (module, name), closed in () if trusted else _CLOSED:
                setattr(module, name, closed)
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)


def asks_for_code(error: BaseException) -> bool:
    """Tell whether a model was refused because it brings code."""
    return "trust_remote_code" in str(error)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise ValueError("it asks for code of its own, which needs trust_remote_code")


_CLOSED: tuple[tuple[tuple[Any, str], Any], ...] = (
    ((dynamic_module_utils, "get_cached_module_file"), _refuse),
    ((dynamic_module_utils, "get_class_in_module"), _refuse),
    ((generation, "get_cached_module_file"), _refuse),
    ((generation, "get_class_in_module"), _refuse),
    ((hub_kernels, "get_kernel"), _refuse),
    # No seconds to answer: the library raises an error instead of asking.
    ((dynamic_module_utils, "TIME_OUT_REMOTE_CODE"), 0),
)
