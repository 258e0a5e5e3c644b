"""What values are made of: data by content, code by what it does, secrets not at all.

Looked at before this was written: joblib's hashing, which orders sets and mappings but takes
functions by name; cloudpickle, which carries closures, defaults and referred globals but also line
numbers and places; dask's tokenize, which says what it cannot tell. This does all three. Where
nothing better is known an object is what it would be pickled as, so that its own `__reduce__` and
`__getstate__` have their say, and what cannot be pickled cannot be told.
"""

from __future__ import annotations

import copyreg
import functools
import logging
import os
import pickle
import re
import sys
import threading
import types
import typing
import weakref
from collections import OrderedDict, deque
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Set, ValuesView
from contextlib import suppress
from enum import Enum
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import dspy
import pydantic
import pydantic_core
from pydantic.fields import FieldInfo

from ipo_dspy.errors import UnknownIdentityError
from ipo_dspy.images.image import ImageFile, content_hash
from ipo_dspy.runs.identity.code import (
    import_name,
    is_users,
    look_at_class,
    look_at_code,
    look_at_function,
    look_at_module,
    makes_programs,
    named,
)
from ipo_dspy.runs.identity.graph import Node

SAYS_ITSELF = "__run_identity__"
"""The method by which an object says what stands for it: any value, or its parts by name."""

_REDUCE_PROTOCOL = 4
_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, range)
# They order threads or keep what can be made again; no result depends on what is in them. What
# pydantic compiles, it compiles from fields that are looked at.
_WITHOUT_CONTENT = (
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Condition,
    threading.Semaphore,
    threading.Event,
    threading.Thread,
    threading.local,
    weakref.WeakKeyDictionary,
    weakref.WeakValueDictionary,
    weakref.WeakSet,
    pydantic_core.SchemaValidator,
    pydantic_core.SchemaSerializer,
)


def look(value: object) -> bytes | Node:
    """Tell what a value is: its content, or a node with what it is made of.

    Raises:
        UnknownIdentityError: nothing about it would be the same in another process.
    """
    if type(value) in _PLAIN:
        return _plain(value)
    for single, content in _single():
        if value is single:
            return content
    if not isinstance(value, type) and hasattr(type(value), SAYS_ITSELF):
        said = getattr(value, SAYS_ITSELF)()
        parts = _attributes(said) if isinstance(said, dict) else [said]
        return Node(f"says {type(value).__name__}", parts)
    # By the true type: proxies and generic aliases pretend to be another one.
    return _look.dispatch(type(value))(value)


def _single() -> Iterator[tuple[object, bytes]]:
    """Objects of which a process has one, whatever is in them."""
    yield from ((Ellipsis, b"Ellipsis"), (NotImplemented, b"NotImplemented"))
    yield from ((os.environ, b"environment"), (dspy.settings, b"settings"))
    yield from ((sys.stdin, b"stdin"), (sys.stdout, b"stdout"), (sys.stderr, b"stderr"))


def _plain(value: object) -> bytes:
    content = value if isinstance(value, str) else repr(value)
    return f"{type(value).__name__} {content}".encode("utf-8", "surrogatepass")


@functools.singledispatch
def _look(value: Any) -> bytes | Node:
    """An object of a kind that is not known: what it would be pickled as."""
    for cls in type(value).__mro__:
        # Of libraries that load lazily: where one of their objects is, they are.
        if (known := _LAZY.get(f"{cls.__module__}.{cls.__qualname__}")) is not None:
            return known(value)
    return _pickled(value)


def _pickled(value: Any) -> bytes | Node:
    try:
        reducer = copyreg.dispatch_table.get(type(value))
        reduced = reducer(value) if reducer else value.__reduce_ex__(_REDUCE_PROTOCOL)
    # A user's class may raise anything.
    except Exception as error:
        raise UnknownIdentityError(str(error)) from error
    if isinstance(reduced, str):
        return _by_name(value, reduced)
    made_by, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if made_by in _MAKERS:
        # The class comes first among the arguments.
        made_by, *arguments = arguments
    own = {} if state is None else state
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        own = {**(state[0] or {}), **state[1]}
    parts: list[object] = [made_by, tuple(arguments)]
    if isinstance(own, dict) and all(isinstance(name, str) for name in own):
        parts += _attributes(own, _made_again(type(value)))
    else:
        parts.append(own)
    parts.append(list(items) if items is not None else None)
    parts.append(dict(pairs) if pairs is not None else None)
    return Node("object", parts)


_MAKERS = (copyreg.__newobj__, copyreg.__newobj_ex__)  # type: ignore[attr-defined]


def _by_name(value: Any, name: str) -> Node:
    module = pickle.whichmodule(value, name)  # type: ignore[attr-defined]
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value:
        raise UnknownIdentityError(f"it calls itself {name}, and is not found under that name")
    if not is_users(module):
        return Node(f"import {module}.{name}")
    own = _attributes(getattr(value, "__dict__", {}), frozenset({"__module__", "__doc__"}))
    return Node(f"global {name}", (type(value), *own))


def _attributes(state: Mapping[str, object], leave_out: frozenset[str] = frozenset()) -> list[Node]:
    return [named(name, state[name]) for name in sorted(state) if name not in leave_out]


def _made_again(cls: type) -> frozenset[str]:
    """The names under which objects keep what their class works out when it is asked."""
    return frozenset(
        name
        for base in cls.__mro__
        for name, value in vars(base).items()
        if isinstance(value, functools.cached_property)
    )


# Plain data, and subclasses of it


def _instance(value: Any, kind: str, content: object) -> Node:
    """An object of a subclass of plain data: its class, its content, its own attributes."""
    own = getattr(value, "__dict__", None)
    return Node(kind, (type(value), content, dict(own) if own else None))


@_look.register(bool)
@_look.register(int)
@_look.register(float)
@_look.register(complex)
@_look.register(str)
@_look.register(bytes)
@_look.register(bytearray)
def _(value: Any) -> bytes | Node:
    if isinstance(value, Enum):
        return _member(value)
    base: Any = next(cls for cls in _PLAIN if isinstance(value, cls))
    # A subclass may say something else when it is converted.
    plain = str.__str__(value) if base is str else base(value)
    if type(value).__module__ == "numpy":
        return _plain(plain)
    return _instance(value, "subclass", plain)


@_look.register(Enum)
def _member(value: Enum) -> Node:
    return Node(f"member {value.name}", (type(value),))


@_look.register(tuple)
@_look.register(list)
@_look.register(deque)
def _(value: Any) -> Node:
    kind = type(value)
    if kind in (tuple, list):
        return Node(kind.__name__, value)
    if isinstance(value, deque):
        return _instance(value, f"queue {value.maxlen}", list(value))
    # A subclass may say something else when it is gone through.
    base: Any = tuple if isinstance(value, tuple) else list
    return _instance(value, "sequence", list(base.__iter__(value)))


@_look.register(dict)
@_look.register(Mapping)
def _(value: Any) -> Node:
    pairs = [
        named(key, inner) if type(key) is str else Node("pair", (key, inner))
        for key, inner in dict(value).items()
    ]
    if isinstance(value, OrderedDict):
        return Node("ordered mapping", pairs)
    content = Node("mapping", pairs, unordered=True)
    if type(value) in (dict, types.MappingProxyType):
        return content
    factory = getattr(value, "default_factory", None)
    return Node("mapping of", (_instance(value, "mapping", content), factory))


@_look.register(set)
@_look.register(frozenset)
@_look.register(Set)
@_look.register(KeysView)
@_look.register(ItemsView)
def _(value: Any) -> Node:
    kind = "frozenset" if isinstance(value, frozenset) else "set"
    content = Node(kind, tuple(value), unordered=True)
    is_subclass = isinstance(value, set | frozenset) and type(value) not in (set, frozenset)
    return _instance(value, "set of", content) if is_subclass else content


@_look.register(ValuesView)
def _(value: Any) -> Node:
    return Node("list", list(value))


@_look.register(memoryview)
def _(value: memoryview) -> bytes:
    return b"memoryview " + value.tobytes()


@_look.register(slice)
def _(value: slice) -> Node:
    return Node("slice", (value.start, value.stop, value.step))


@_look.register(PurePath)
def _(value: PurePath) -> bytes:
    return f"path {value.as_posix()}".encode("utf-8", "surrogateescape")


@_look.register(re.Pattern)
def _(value: re.Pattern[str]) -> Node:
    return Node("pattern", (value.pattern, value.flags))


@_look.register(logging.Logger)
def _(value: logging.Logger) -> Node:
    return Node(f"logger {value.name}")


def _nothing_inside(value: object) -> Node:
    return Node(f"a {type(value).__name__}")


for _type in _WITHOUT_CONTENT:
    _look.register(_type, _nothing_inside)


@_look.register(weakref.ReferenceType)
def _(value: weakref.ReferenceType[Any]) -> Node:
    return Node("weak reference", (value(),))


# Code


@_look.register(types.FunctionType)
def _(value: types.FunctionType) -> Node:
    node = look_at_function(value)
    return Node(node.kind, (*node.parts, *_configured())) if makes_programs(value) else node


@_look.register(types.CodeType)
def _(value: types.CodeType) -> Node:
    return look_at_code(value)


@_look.register(types.ModuleType)
def _(value: types.ModuleType) -> bytes | Node:
    return look_at_module(value)


@_look.register(types.CellType)
def _(value: types.CellType) -> Node:
    return Node("cell", (value.cell_contents,))


@_look.register(types.MethodType)
def _(value: types.MethodType) -> Node:
    owner = named(type(value.__self__).__name__, value.__self__, "the object that it belongs to")
    return Node("method", (Node("of", (value.__func__,), name="the function"), owner))


@_look.register(types.BuiltinFunctionType)
@_look.register(types.MethodWrapperType)
def _(value: Any) -> bytes | Node:
    owner = getattr(value, "__self__", None)
    if isinstance(owner, types.ModuleType):
        return Node(f"import {owner.__name__}.{value.__name__}")
    if owner is None:
        return _pickled(value)
    return Node(f"method {value.__name__}", (owner,))


@_look.register(types.MethodDescriptorType)
@_look.register(types.WrapperDescriptorType)
@_look.register(types.ClassMethodDescriptorType)
@_look.register(types.GetSetDescriptorType)
@_look.register(types.MemberDescriptorType)
def _(value: Any) -> Node:
    return Node(f"descriptor {value.__name__}", (value.__objclass__,))


@_look.register(typing.TypeVar)
def _(value: typing.TypeVar) -> Node:
    return Node(f"variable {value.__name__}", (value.__bound__, value.__constraints__))


@_look.register(typing.ForwardRef)
def _(value: typing.ForwardRef) -> Node:
    return Node(f"forward reference {value.__forward_arg__}")


@_look.register(staticmethod)
@_look.register(classmethod)
def _(value: Any) -> Node:
    return Node(type(value).__name__, (value.__func__,))


@_look.register(property)
def _(value: property) -> Node:
    return Node("property", (value.fget, value.fset, value.fdel))


@_look.register(type(functools.lru_cache(lambda: None)))
def _(value: Any) -> Node:
    return Node("cached", (value.__wrapped__,))


@_look.register(functools.cached_property)
def _(value: functools.cached_property[Any]) -> Node:
    return Node("cached property", (value.func,))


@_look.register(type)
def _(value: type) -> Node:
    return look_at_class(value)


# pydantic


@_look.register(type(pydantic.BaseModel))
def _(value: type[pydantic.BaseModel]) -> Node:
    if not is_users(value.__module__) and import_name(value) is not None:
        return look_at_class(value)
    node = look_at_class(value)
    fields = [named(name, field) for name, field in value.model_fields.items()]
    return Node(node.kind, (*node.parts, Node("fields", fields), dict(value.model_config)))


@_look.register(FieldInfo)
def _(value: FieldInfo) -> Node:
    # Of what is not said nothing is told, for another pydantic may know of more to say.
    told = {name: getattr(value, name, None) for name in FieldInfo.__slots__ if name[0] != "_"}
    return Node("field", _attributes({k: v for k, v in told.items() if v is not None}))


@_look.register(pydantic.BaseModel)
def _(value: pydantic.BaseModel) -> Node:
    # Which fields were set by hand makes no difference to what they hold.
    fields = {**value.__dict__, **(value.__pydantic_extra__ or {})}
    private = value.__pydantic_private__ or {}
    own = _attributes(fields, _made_again(type(value)))
    return Node("model", (type(value), *own, *_attributes(private)))


@_look.register(pydantic.TypeAdapter)
def _(value: pydantic.TypeAdapter[Any]) -> Node:
    return Node("type adapter", (value._type, value._config))


# DSPy


@_look.register(type(dspy.Signature))
def _(value: type[dspy.Signature]) -> Node:
    if not is_users(value.__module__) and (name := import_name(value)) is not None:
        return Node(f"import {name}")
    fields = [named(name, field) for name, field in value.fields.items()]
    return Node(
        "signature",
        (
            Node("instructions", (value.instructions,), name="instructions"),
            Node("fields", (Node("list", fields),), name="fields"),
        ),
    )


@_look.register(dspy.Image)
def _(value: dspy.Image) -> bytes:
    # What lies elsewhere is not fetched for this: a language model may be sent the address alone.
    is_remote = value.url.startswith(("http://", "https://"))
    return f"image {value.url if is_remote else content_hash(value)}".encode()


@_look.register(dspy.Example)
def _(value: dspy.Example) -> Node:
    # DSPy's readers number examples at random, in fields that begin with `dspy_`.
    fields = [named(name, _field(name, content)) for name, content in value.items()]
    inputs = getattr(value, "_input_keys", None)
    kind = type(value) if is_users(type(value).__module__) else type(value).__name__
    return Node(
        "example",
        (kind, None if inputs is None else set(inputs), Node("fields", fields, unordered=True)),
    )


def _field(name: str, content: object) -> object:
    """A field of an example; a file counts by its content."""
    if isinstance(content, PurePath) or (name == "image" and isinstance(content, str)):
        path = Path(content)
        with suppress(OSError, ValueError):
            if path.is_file():
                return ImageFile(path)
    return content


_NOT_OF_MODULE = frozenset({"history", "callbacks"})
_NOT_OF_PREDICT = frozenset({"stage", "traces", "train", "lm"})


def _configured(lm: dspy.BaseLM | None = None) -> list[Node]:
    """What a predictor takes from DSPy's settings where it has none of its own."""
    return [
        named("lm", lm or dspy.settings.lm, "the language model"),
        named("adapter", dspy.settings.adapter or dspy.ChatAdapter(), "the adapter"),
    ]


@_look.register(dspy.Module)
def _(value: dspy.Module) -> Node:
    left_out = _NOT_OF_MODULE | _made_again(type(value))
    if isinstance(value, dspy.Predict):
        own = [*_attributes(vars(value), left_out | _NOT_OF_PREDICT), *_configured(value.lm)]
    else:
        own = _attributes(vars(value), left_out)
    # The order of predictors is that in which they are optimised.
    names = tuple(name for name, _ in value.named_predictors())
    cls = Node("class", (type(value),), name=f"the code of {type(value).__name__}")
    return Node("program", (cls, names, *own))


@_look.register(dspy.Retrieve)
def _(value: dspy.Retrieve) -> Node:
    own = _attributes(vars(value), _NOT_OF_MODULE | _NOT_OF_PREDICT)
    return Node("retriever", (type(value), *own, named("rm", dspy.settings.rm, "the retriever")))


@_look.register(dspy.Adapter)
def _(value: dspy.Adapter) -> Node:
    return Node("adapter", (type(value), *_attributes(vars(value), frozenset({"callbacks"}))))


# How a model is reached and how patiently, which changes nothing of what it answers.
# fmt: off
_CONNECTION = frozenset(
    {
        "timeout", "num_retries", "max_retries", "cache", "callbacks", "client", "http_client",
        "headers", "extra_headers", "default_headers",
    }
)
# fmt: on
_SECRET = re.compile(
    r"(^|_)(key|key_id|api_?key|token|secret|password|passwd|credentials?|authorization)$",
    re.IGNORECASE,
)


@_look.register(dspy.BaseLM)
def _(value: dspy.BaseLM) -> Node:
    cls = type(value)
    parts = [named("name", value.model, "the name"), *_attributes(model_settings(value))]
    if not is_users(cls.__module__):
        return Node(f"language model {cls.__name__}", parts)
    # Of a user's own class also the code, and what it holds besides counts and records of calls.
    known = vars(dspy.BaseLM(""))
    own = {
        name: inner
        for name, inner in vars(value).items()
        if name not in known
        and type(inner) in (str, bytes, float, bool, tuple, frozenset)
        and not _SECRET.search(name)
    }
    code = Node("class", (cls,), name=f"the code of {cls.__name__}")
    return Node("language model", (*parts, code, *_attributes(own)))


def model_settings(lm: dspy.BaseLM) -> dict[str, Any]:
    """What a language model is called with, without secrets and without how it is reached."""
    settings = {
        name: without_secrets(setting)
        for name, setting in lm.kwargs.items()
        if name not in _CONNECTION and not _SECRET.search(name) and setting is not None
    }
    return {"model_type": lm.model_type, **settings}


def without_secrets(value: Any) -> Any:
    """An address without user, password and query; mappings without what is named as a secret."""
    if isinstance(value, str) and "://" in value:
        parts = urlsplit(value)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    if isinstance(value, Mapping):
        return {
            key: without_secrets(inner)
            for key, inner in value.items()
            if not (isinstance(key, str) and (_SECRET.search(key) or key in _CONNECTION))
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return value


# Libraries that are loaded on first use


def _numpy_number(value: Any) -> bytes | Node:
    plain = value.item()
    if type(plain) in (bool, int, str, bytes):
        return _plain(plain)
    return Node(f"numpy {value.dtype.str}", (repr(plain),))


def _numpy_array(value: Any) -> Node:
    content = value.tolist() if value.dtype.hasobject else value.tobytes()
    return Node(f"array {value.dtype.str} {value.dtype.descr} {value.shape}", (content,))


def _tensor(value: Any) -> Node:
    import torch

    plain = value.detach().cpu().contiguous()
    if plain.is_sparse or plain.is_quantized:
        raise UnknownIdentityError("it is a sparse or quantized tensor")
    content = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return Node(f"tensor {plain.dtype} {tuple(plain.shape)}", (content,))


def _picture(value: Any) -> Node:
    return Node(f"picture {value.mode} {value.size}", (value.tobytes(), value.getpalette()))


_LAZY = {
    "numpy.generic": _numpy_number,
    "numpy.ndarray": _numpy_array,
    "torch.Tensor": _tensor,
    "PIL.Image.Image": _picture,
}
