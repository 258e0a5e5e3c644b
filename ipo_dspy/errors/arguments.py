"""Arguments of public calls, checked by their annotations: a sentence for what does not fit."""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial, wraps
from operator import index
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    overload,
)

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, ConfigDict, Strict, TypeAdapter, ValidationError

from ipo_dspy.errors import ArgumentError

_P = ParamSpec("_P")
_R = TypeVar("_R")
_C = TypeVar("_C", bound=type)


class Unbounded:
    """Says of a number that it may be infinite."""


@dataclass(frozen=True)
class Takes:
    """Says of a function how many arguments it is called with."""

    count: int


@dataclass(frozen=True)
class Dimensions:
    """Says of a tensor how many dimensions it has."""

    count: int


# What is counted is kept in lists and made in loops, so that more than this is a slip.
Count = Annotated[int, Ge(1), Le(10**9)]
"""A whole number from 1 to a billion."""
Natural = Annotated[int, Ge(0), Le(10**15)]
"""A whole number from 0 to a million billions."""
Share = Annotated[float, Ge(0), Le(1)]
"""A number from 0 to 1."""
Positive = Annotated[float, Gt(0)]
"""A number above 0."""
NotNegative = Annotated[float, Ge(0)]
"""A number from 0 on."""
Bound = Annotated[float, Ge(0), Unbounded]
"""A number from 0 on, or infinity."""

_LATE = {
    "CLIPClassifier": "ipo_dspy.programs.classifier",
    "Embedder": "ipo_dspy.features.embedder",
    "Encoder": "ipo_dspy.encoders.base",
    "LabeledImages": "ipo_dspy.images.labeled",
    "Tensor": "torch",
}
"""Where types are that modules name without loading them."""
_LONGEST = 80
_NOT_LISTS = (str, bytes, Mapping, Set)


def checked_call(
    function: Callable[_P, _R],
    *,
    elsewhere: Mapping[str, str] = types.MappingProxyType({}),
    hints: Mapping[str, str] = types.MappingProxyType({}),
) -> Callable[_P, _R]:
    """Make a function that checks its arguments before it does anything.

    Args:
        function: has annotations, or parameters without one that take anything.
        elsewhere: arguments of other libraries, and what they are called here.
        hints: what to give, for arguments whose annotation does not say it.
    """
    signature = inspect.signature(function)
    bind = _binder(signature)
    is_method = next(iter(signature.parameters), "") in _OWNERS
    adapters: dict[str, tuple[TypeAdapter[Any], str]] = {}

    @wraps(function)
    def check(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        name = function.__name__
        if is_method and args:
            owner = args[0] if isinstance(args[0], type) else type(args[0])
            name = owner.__name__ if name in _CALLS else f"{owner.__name__}.{name}"
        try:
            given = bind(args, kwargs)
        except TypeError as error:
            raise ArgumentError(_unbound(name, signature, kwargs, elsewhere, error)) from None
        if not adapters:
            adapters.update(_adapters(function, signature))
        for argument, value in given:
            if argument in adapters:
                adapter, expected = adapters[argument]
                _check(name, argument, value, adapter, expected, hints)
            elif argument not in signature.parameters and _takes(function) is not None:
                raise ArgumentError(_unknown(name, argument, [*adapters], elsewhere))
        return function(*args, **kwargs)

    check.__ipo_checked__ = True  # type: ignore[attr-defined]
    return check


@overload
def checked(target: _C) -> _C: ...
@overload
def checked(target: Callable[_P, _R]) -> Callable[_P, _R]: ...
@overload
def checked(
    *, elsewhere: Mapping[str, str] = ..., hints: Mapping[str, str] = ...
) -> Callable[[_C], _C]: ...


def checked(target: Any = None, **told: Any) -> Any:
    """Check the arguments of a function, or of the constructor and the public methods of a class.

    What does not fit its annotation, is not known or is missing ends in an `ArgumentError` that
    names the argument, what came and what to give. Values are handed on as they came.
    """
    if target is None:
        return lambda decorated: checked(decorated, **told)
    if not isinstance(target, type):
        return checked_call(target, **told)
    target.__init__ = checked_call(target.__init__, **told)  # type: ignore[misc]
    for name, member in list(vars(target).items()):
        is_class_method = isinstance(member, classmethod)
        function = member.__func__ if is_class_method else member
        if name.startswith("_") or name in _FREE or not inspect.isfunction(function):
            continue
        if inspect.iscoroutinefunction(function):
            continue
        check = checked_call(function, **told)
        setattr(target, name, classmethod(check) if is_class_method else check)
    return target


_OWNERS = ("self", "cls")
_CALLS = ("__init__", "__call__", "forward")
"""Methods that people call by the name of their class."""
_FREE = ("forward", "dump_state", "load_state")
"""Methods that DSPy calls with arguments of its own choice."""


def _binder(
    signature: inspect.Signature,
) -> Callable[[tuple[Any, ...], Mapping[str, Any]], Iterable[tuple[str, Any]]]:
    """Make what gives arguments one by one with their names; never those that are not given."""
    parameters = signature.parameters
    required = {name for name, each in parameters.items() if each.default is each.empty}
    positional = [
        name for name, each in parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    named = {
        *positional,
        *(name for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY),
    }
    is_plain = len(named) == len(parameters)

    def bind(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
        # Metrics are called for every image; inspect's way takes longer than they do.
        if is_plain and len(args) <= len(positional):
            given = dict(zip(positional, args, strict=False))
            if given.keys().isdisjoint(kwargs) and kwargs.keys() <= named:
                given |= kwargs
                if required <= given.keys():
                    return given.items()
        return _flat(signature, signature.bind(*args, **kwargs).arguments)

    return bind


def _flat(signature: inspect.Signature, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The arguments one by one, those that are taken together too; never `self` and `cls`."""
    for argument, value in given.items():
        kind = signature.parameters[argument].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            yield from ((argument, one) for one in value)
        else:
            yield argument, value


def _check(
    name: str,
    argument: str,
    value: Any,
    adapter: TypeAdapter[Any],
    expected: str,
    hints: Mapping[str, str],
) -> None:
    try:
        adapter.validate_python(value)
    except ValidationError:
        hint = f"; {hints[argument]}" if argument in hints else ""
        came = f"got {shown(value)}"
        if isinstance(value, Set) and "a list" in expected:
            hint = f"; a {type(value).__name__} has no order, so give a list{hint}"
        if isinstance(value, float) and math.isinf(value):
            hint = f"; it must be finite{hint}"
        raise ArgumentError(f"{name}: {argument} must be {expected}, {came}{hint}.") from None


def shown(value: Any) -> str:
    """Write what came, shortly."""
    try:
        text = " ".join(repr(value).split())
    except Exception as error:  # noqa: BLE001 - a repr is anybody's code.
        text = f"<{type(error).__name__} in repr>"
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    return "None" if value is None else f"{text} of type {type(value).__name__}"


def _unbound(
    name: str,
    signature: inspect.Signature,
    kwargs: Mapping[str, Any],
    elsewhere: Mapping[str, str],
    error: TypeError,
) -> str:
    known = _named(signature)
    for argument in kwargs:
        if argument not in known:
            return _unknown(name, argument, known, elsewhere)
    if str(error).startswith("missing"):
        missing = str(error).rpartition(": ")[2].strip("'")
        return f"{name} needs {missing}."
    positional = [
        each.name
        for each in signature.parameters.values()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        and each.name not in _OWNERS
    ]
    if str(error).startswith("too many"):
        takes = ", ".join(positional) or "none"
        return f"{name} takes these arguments without a name: {takes}; name the others."
    return f"{name}: {error}."


def _named(signature: inspect.Signature) -> list[str]:
    return [
        each.name
        for each in signature.parameters.values()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY) and each.name not in _OWNERS
    ]


def _unknown(name: str, argument: str, known: Sequence[str], elsewhere: Mapping[str, str]) -> str:
    if argument in elsewhere:
        return f"{name} has no argument {argument!r}: {elsewhere[argument]}."
    near = difflib.get_close_matches(argument, known, n=2)
    meant = f"did you mean {' or '.join(near)}?" if near else f"it takes {', '.join(known)}."
    return f"{name} has no argument {argument!r}; {meant}"


def _adapters(
    function: Callable[..., Any], signature: inspect.Signature
) -> dict[str, tuple[TypeAdapter[Any], str]]:
    """What checks each argument, and what it expects in words."""
    space = inspect.unwrap(function).__globals__
    found = {}
    for parameter in signature.parameters.values():
        if parameter.annotation is parameter.empty or parameter.name in _OWNERS:
            continue
        annotation = _evaluated(parameter.annotation, space)
        if parameter.kind is parameter.VAR_KEYWORD:
            if (options := _takes(function)) is not None:
                where = vars(inspect.getmodule(options))
                for name, each in options.__annotations__.items():
                    text = each.__forward_arg__ if isinstance(each, typing.ForwardRef) else each
                    found[name] = _adapter(_evaluated(text, where))
            continue
        found[parameter.name] = _adapter(annotation)
    return found


def _takes(function: Callable[..., Any]) -> Any:
    """The typed dictionary that names the further arguments of a function; else None."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            space = inspect.unwrap(function).__globals__
            annotation = _evaluated(parameter.annotation, space)
            if get_origin(annotation) is typing.Unpack:
                return get_args(annotation)[0]
    return None


def _adapter(annotation: Any) -> tuple[TypeAdapter[Any], str]:
    config = ConfigDict(arbitrary_types_allowed=True)
    return TypeAdapter(_schema(annotation), config=config), described(annotation)


class _Late(dict[str, Any]):
    """Types by name, loaded when a name is asked for."""

    def __missing__(self, name: str) -> Any:
        if name == "dspy":
            return importlib.import_module(name)
        return getattr(importlib.import_module(_LATE[name]), name)


def _evaluated(annotation: Any, space: dict[str, Any]) -> Any:
    if get_origin(annotation) is list:
        return list[_evaluated(get_args(annotation)[0], space)]  # type: ignore[misc]
    if not isinstance(annotation, str):
        return annotation
    return eval(annotation, {**space, "type": type}, _Late())  # nosec B307 # our own text


def _schema(annotation: Any) -> Any:
    """An annotation as pydantic is to check it: nothing is converted, and lists are any lists."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments[0], annotation.__metadata__)
    if origin in (Union, types.UnionType):
        return _one_of(arguments)
    if isinstance(annotation, str | TypeVar | typing.ForwardRef):
        return Any
    if annotation in _SCHEMAS:
        return _SCHEMAS[annotation]
    if _is_path(annotation):
        return _PATH
    if origin is Literal or annotation in (Any, object, None, type(None)):
        return annotation
    return _of_several(annotation, origin, arguments)


def _one_of(annotations: Sequence[Any]) -> Any:
    paths = [each for each in annotations if _is_path(each)]
    schemas = [_schema(each) for each in annotations if not (paths and each in (str, *paths))]
    return Union[tuple([*schemas, _PATH] if paths else schemas)]  # noqa: UP007 - made at run time


def _of_several(annotation: Any, origin: Any, arguments: Sequence[Any]) -> Any:
    """What an annotation is checked as that says of what it is made."""
    if origin in (Sequence, Iterable, list, tuple):
        needs = "__iter__" if origin is Iterable else "__len__"
        return Annotated[Any, AfterValidator(_listed(arguments[0] if arguments else Any, needs))]
    if origin is Mapping or annotation is Mapping:
        return Annotated[Any, AfterValidator(_mapped(*(arguments or (Any, Any))))]
    if origin is Callable or annotation is Callable:
        count = len(arguments[0]) if arguments and isinstance(arguments[0], list) else None
        return Annotated[Any, AfterValidator(_must(callable)), *_takes_at_least(count)]
    if origin is type:
        return Annotated[Any, AfterValidator(_must(lambda v: _is_class_of(v, arguments[0])))]
    kind = origin or annotation
    if members := _members(kind):
        return Annotated[Any, AfterValidator(_must(lambda v: all(hasattr(v, m) for m in members)))]
    return _instance(kind) if isinstance(kind, type) else Any


def _members(kind: Any) -> list[str]:
    """What a protocol asks for, in order of the alphabet; nothing for any other type."""
    if not getattr(kind, "_is_protocol", False):
        return []
    return sorted(typing._get_protocol_attrs(kind))  # type: ignore[attr-defined]


def _annotated(annotation: Any, told: Iterable[Any]) -> Any:
    """What is annotated, and what is told of it beside its type."""
    schema, bounds = _schema(annotation), []
    for each in told:
        if each is Unbounded:
            schema = _checked_by(_any_number)
        elif isinstance(each, Takes):
            bounds += _takes_at_least(each.count)
        elif isinstance(each, Dimensions):
            bounds.append(AfterValidator(_must(partial(_has_dimensions, each.count))))
        else:
            bounds.append(each)
    return Annotated[schema, *bounds] if bounds else schema


def _has_dimensions(count: int, value: Any) -> bool:
    return bool(value.ndim == count)


def _checked_by(check: Callable[[Any], Any]) -> Any:
    return Annotated[Any, AfterValidator(check)]


def _is_path(annotation: Any) -> bool:
    return annotation is Path or (get_origin(annotation) or annotation) is os.PathLike


def _is_class_of(value: Any, kind: Any) -> bool:
    return isinstance(value, type) and (not isinstance(kind, type) or issubclass(value, kind))


def _takes_at_least(count: int | None) -> list[Any]:
    """What refuses functions that cannot be called with so many arguments."""
    if count is None:
        return []
    return [AfterValidator(_must(lambda value: _can_take(value, count)))]


def _can_take(function: Callable[..., Any], count: int) -> bool:
    if isinstance(function, type):
        return False
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # Built-in functions may not tell what they take.
        return True
    return True


def _instance(kind: Any) -> Any:
    return Annotated[Any, AfterValidator(_must(lambda value: isinstance(value, kind)))]


def _must(holds: Callable[[Any], bool]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError
        return value

    return check


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError
    try:
        return index(value)
    except TypeError as error:
        raise ValueError from error


def _number(value: Any) -> float:
    if not math.isfinite(number := _any_number(value)):
        raise ValueError
    return number


def _any_number(value: Any) -> float:
    is_number = hasattr(value, "__float__") or hasattr(value, "__index__")
    if isinstance(value, bool | str | type) or not is_number:
        raise ValueError
    try:
        number = float(value)
    except (TypeError, OverflowError, RuntimeError) as error:  # Of arrays, and of huge numbers.
        raise ValueError from error
    if math.isnan(number):
        raise ValueError
    return number


def _path(value: Any) -> Any:
    if not isinstance(value, str | os.PathLike) or value == "" or "\0" in os.fspath(value):
        raise ValueError
    os.fsencode(value)  # Its error is a ValueError.
    return value


def _listed(of: Any, needs: str) -> Callable[[Any], Any]:
    """Check that a value is a list of something; the items only where looking uses nothing up."""
    items = TypeAdapter(_schema(of), config=ConfigDict(arbitrary_types_allowed=True))

    def check(value: Any) -> Any:
        is_array = hasattr(value, "tolist")
        is_record = hasattr(value, "keys") and not is_array
        if isinstance(value, _NOT_LISTS) or is_record or not hasattr(value, needs):
            raise ValueError
        # Arrays have no truth value, and hold numbers and texts alone.
        if is_array and (of not in (str, int, float) or value.ndim == 0 or len(value) == 0):
            raise ValueError
        if isinstance(value, Sequence) or is_array:
            for item in value:
                items.validate_python(item)
        return value

    return check


def _mapped(key: Any, of: Any) -> Callable[[Any], Any]:
    """Check that a value is a dictionary; what it holds only where it is a plain one."""
    config = ConfigDict(arbitrary_types_allowed=True)
    keys = TypeAdapter(_schema(key), config=config)
    values = TypeAdapter(_schema(of), config=config)

    def check(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError
        if isinstance(value, dict):
            for name, item in value.items():
                keys.validate_python(name)
                values.validate_python(item)
        return value

    return check


_PATH = Annotated[Any, AfterValidator(_path)]
_SCHEMAS: dict[Any, Any] = {
    int: Annotated[Any, AfterValidator(_whole)],
    float: Annotated[Any, AfterValidator(_number)],
    str: Annotated[str, Strict()],
    bool: Annotated[bool, Strict()],
}
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "True or False",
    Path: "a path",
    None: "None",
    type(None): "None",
    Any: "anything",
    object: "anything",
}
_BOUNDS = {
    Ge: ("ge", "from {} on"),
    Gt: ("gt", "above {}"),
    Le: ("le", "up to {}"),
    Lt: ("lt", "below {}"),
}


def described(annotation: Any) -> str:
    """Say in words what an annotation takes."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return " ".join([described(arguments[0]), *_told(annotation.__metadata__)])
    if origin in (Union, types.UnionType):
        if any(map(_is_path, arguments)):
            arguments = tuple(each for each in arguments if each is not str)
        return " or ".join(dict.fromkeys(map(described, arguments)))
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    return _described_parts(annotation, origin, arguments)


def _described_parts(annotation: Any, origin: Any, arguments: Sequence[Any]) -> str:
    if origin in (Sequence, Iterable, list, tuple):
        of = _several(described(arguments[0])) if arguments else "anything"
        return f"a list of {of}"
    if origin is Mapping or annotation is Mapping:
        of = _several(described(arguments[1])) if arguments else "anything"
        return "a dictionary" if of == "anything" else f"a dictionary of {of}"
    if origin is Callable or annotation is Callable:
        counted = arguments and isinstance(arguments[0], list)
        return " ".join(["a function", *_told([Takes(len(arguments[0]))] if counted else [])])
    if origin is type:
        return f"a class of {getattr(arguments[0], '__name__', arguments[0])}"
    if _is_path(annotation):
        return "a path"
    kind = origin or annotation
    name = getattr(kind, "__name__", str(annotation))
    has = _members(kind)
    with_what = f" (anything that has {', '.join(has)})" if has else ""
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}{with_what}"


def _told(metadata: Iterable[Any]) -> list[str]:
    """Say in words what is told of a value beside its type."""
    told = list(metadata)
    numbers = {
        field: f"{getattr(bound, field):,}"
        for bound in told
        for kind, (field, _) in _BOUNDS.items()
        if isinstance(bound, kind)
    }
    if {"ge", "le"} <= numbers.keys():
        return [f"from {numbers['ge']} to {numbers['le']}"]
    words = [text.format(numbers[f]) for f, text in _BOUNDS.values() if f in numbers]
    for each in told:
        if isinstance(each, Takes):
            words.append(f"that takes {each.count} argument{'' if each.count == 1 else 's'}")
        if isinstance(each, Dimensions):
            words.append(f"of {each.count} dimensions")
    return words


def _several(one: str) -> str:
    if one == "anything" or " or " in one:
        return one
    words = one.removeprefix("a ").removeprefix("an ")
    if words.startswith("list of"):
        return words.replace("list", "lists", 1)
    return "dictionaries" if words == "dictionary" else f"{words}s"
