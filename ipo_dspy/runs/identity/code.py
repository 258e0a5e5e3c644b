"""What functions, classes and modules are made of, wherever they lie and whatever surrounds them.

Code that belongs to the user counts by value: what it does, its defaults, what it closes over, and
what it refers to in its module. It is the compiled code that counts, for that is what runs: a
source file may have changed since it was read, and has no answer for a lambda or for what was made
at run time. Compiled code knows nothing of comments, blank lines and places; docstrings count,
since language models get to read them. Another minor version of Python compiles otherwise.

Code of the standard library and of installed packages counts by name alone, so that an upgrade
makes no other run of a run; unless a package is built upon DSPy or this one, and so may be the very
program that is optimised. What code reads at run time (files, variables of the environment, names
that it puts together) is not seen.
"""

from __future__ import annotations

import builtins
import dis
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import dspy

from ipo_dspy.errors import UnknownIdentityError
from ipo_dspy.runs.identity.graph import Node

_OURS = frozenset({"dspy", "ipo_dspy"})
_BUILT_UPON = re.compile(r"(dspy|dspy-ai|ipo-dspy|ipo_dspy)(?![\w-])(?!.*\bextra\b)", re.IGNORECASE)
# What a class has that says nothing about it, or what Python, ABC and pydantic keep for themselves.
# fmt: off
_NOT_OF_CLASS = frozenset(
    {
        "__module__", "__qualname__", "__name__", "__dict__", "__weakref__", "__classcell__",
        "__firstlineno__", "__static_attributes__", "__parameters__", "__orig_bases__",
        "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__",
        "__abstractmethods__", "_abc_impl", "_member_map_", "_value2member_map_",
        "_member_names_", "__class_vars__", "__private_attributes__", "__signature__",
        "__fields__", "model_fields", "model_computed_fields",
    }
)
# fmt: on
_LINE = "__firstlineno__"


@functools.cache
def is_users(module: str | None) -> bool:
    """Tell whether the code of a module counts by value: whether it is no library's."""
    top = (module or "__main__").partition(".")[0]
    if top == "__main__":
        return True
    if top in _OURS:
        return False
    try:
        loaded = sys.modules.get(top)
        spec = getattr(loaded, "__spec__", None) or importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return top not in sys.stdlib_module_names
    places = [place for place in (spec.origin, *(spec.submodule_search_locations or ())) if place]
    if spec.origin in ("built-in", "frozen"):
        return False
    # By place, for a script of the user may have the name of a module of Python.
    installed = any(_is_below(place, _installed()) for place in places)
    if not installed:
        return not any(_is_below(place, _standard()) for place in places)
    return _is_built_upon_dspy(top)


def _is_below(place: str, folders: tuple[Path, ...]) -> bool:
    path = Path(place).resolve()
    return any(path.is_relative_to(folder) for folder in folders)


@functools.cache
def _installed() -> tuple[Path, ...]:
    known = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
    named = [each for each in sys.path if each.endswith(("site-packages", "dist-packages"))]
    return tuple(Path(each).resolve() for each in (*known, *named))


@functools.cache
def _standard() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib"))


def _is_built_upon_dspy(top: str) -> bool:
    try:
        required = importlib.metadata.requires(top) or ()
    except importlib.metadata.PackageNotFoundError:
        return False
    return any(_BUILT_UPON.match(each) for each in required)


def import_name(value: Any) -> str | None:
    """The name under which any process can import a thing; None where there is none."""
    module, name = _name_in_module(value)
    if module is None or name is None or module == "__main__":
        return None
    found: Any = sys.modules.get(module)
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        return None
    return f"{module}.{name}" if found is value else None


def _name_in_module(value: Any) -> tuple[str | None, str | None]:
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if module is None and isinstance(getattr(value, "__self__", None), types.ModuleType):
        module = value.__self__.__name__
    return (module, name) if isinstance(module, str) and isinstance(name, str) else (None, None)


def named(name: str, value: object, words: str | None = None) -> Node:
    """A part under its name."""
    return Node(f"name {name}", (value,), name=f"`{name}`" if words is None else words)


def look_at_function(function: types.FunctionType) -> Node:
    """A function: by name where it is a library's, else with all that it depends on."""
    home = function.__globals__.get("__name__")
    # A library's wrapper around a function of the user has the module and the name of that one.
    of_library = not is_users(home) and not is_users(function.__module__)
    if of_library and (name := import_name(function)) is not None:
        return Node(f"import {name}")
    parts: list[object] = [Node("code", (function.__code__,), name="the code")]
    parts += _defaults(function)
    parts += [
        named(name, _content(cell))
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        )
    ]
    if is_users(home):
        parts += _references(function)
    extra = {k: v for k, v in vars(function).items() if k != "__wrapped__"}
    parts += [named(name, value) for name, value in sorted(extra.items())]
    parts.append(Node("annotations", (_annotations(function),)))
    return Node(f"function {function.__name__}", parts)


def _defaults(function: types.FunctionType) -> Iterator[Node]:
    code = function.__code__
    positional = function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(positional) : code.co_argcount]
    given = {**dict(zip(names, positional, strict=True)), **(function.__kwdefaults__ or {})}
    for name, value in given.items():
        yield named(name, Node("default", (value,)), f"the default of `{name}`")


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return Node("without a value")


def _annotations(holder: Any) -> object:
    # Python 3.14 makes them when asked, and names may then be unknown.
    try:
        found = holder.__annotations__
    except (AttributeError, NameError):
        return None
    return dict(found) if isinstance(found, Mapping) else None


def _references(function: types.FunctionType) -> Iterator[Node]:
    """What the code of a function finds in its module and imports when it runs."""
    code, scope = function.__code__, function.__globals__
    names = frozenset(_all_names(code))
    for name in sorted(_global_names(code)):
        if name in scope:
            value = scope[name]
            yield named(name, _of_module(value, names) if _is_module(value) else value)
        elif not hasattr(builtins, name):
            yield named(name, Node("unknown name"))
    for module in sorted(_imports(code, scope)):
        top = module.partition(".")[0]
        if is_users(top):
            yield named(module, _imported(module, names))


def makes_programs(function: types.FunctionType) -> bool:
    """Tell whether a function of the user names a class of DSPy's programs, to make one of it.

    Or DSPy's settings, to take from there what programs take.
    """
    scope = function.__globals__
    if not is_users(scope.get("__name__")):
        return False
    names = set(_all_names(function.__code__))
    known = [scope.get(name) for name in names]
    if any(each is dspy for each in known):
        known += [getattr(dspy, name, None) for name in names]
    return any(
        each is dspy.settings or (isinstance(each, type) and issubclass(each, dspy.Module))
        for each in known
    )


def _imported(name: str, names: frozenset[str]) -> Node:
    # The function is going to import it; whether it has done so already must make no difference.
    try:
        module = importlib.import_module(name)
    except ImportError:
        return Node(f"missing module {name}")
    # Importing runs code of the user, which may raise anything.
    except Exception as error:
        raise UnknownIdentityError(f"it imports {name}, which fails: {error}") from error
    return _of_module(module, names | frozenset(name.split(".")))


def _is_module(value: object) -> bool:
    return isinstance(value, types.ModuleType)


def _of_module(module: types.ModuleType, names: frozenset[str]) -> Node:
    """A module as code sees it that uses these names."""
    if not is_users(module.__name__):
        return Node(f"module {module.__name__}")
    used = [name for name in sorted(names) if name in vars(module) and not name.startswith("__")]
    parts = []
    for name in used:
        value = vars(module)[name]
        inner = names - {name}
        parts.append(named(name, _of_module(value, inner) if _is_module(value) else value))
    return Node("module of the user", parts)


def look_at_module(module: types.ModuleType) -> Node:
    """A module that something holds: by name, or with all that it has."""
    return _of_module(module, frozenset(vars(module)))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _all_names(code: types.CodeType) -> Iterator[str]:
    for each in _codes(code):
        yield from each.co_names


def _global_names(code: types.CodeType) -> set[str]:
    return {
        str(instruction.argval)
        for each in _codes(code)
        for instruction in dis.get_instructions(each)
        # The bodies of classes look names up by LOAD_NAME.
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    }


def _imports(code: types.CodeType, scope: Mapping[str, Any]) -> set[str]:
    found = set()
    for each in _codes(code):
        recent: list[Any] = []
        for instruction in dis.get_instructions(each):
            if instruction.opname == "IMPORT_NAME":
                level = recent[-2] if len(recent) > 1 and isinstance(recent[-2], int) else 0
                name = "." * level + str(instruction.argval or "")
                try:
                    found.add(importlib.util.resolve_name(name, scope.get("__package__") or ""))
                except ImportError:
                    continue
            recent.append(instruction.argval)
    return found


def look_at_code(code: types.CodeType) -> Node:
    """Compiled code, without where it was written."""
    # The first constant of a function is its docstring; the others stand where they are used.
    first = code.co_consts[:1] if code.co_flags & inspect.CO_OPTIMIZED else ()
    arguments = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    return Node(
        "code",
        (
            _flow(code),
            first,
            (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
            (*arguments, code.co_flags),
        ),
    )


def _flow(code: types.CodeType) -> Node:
    """The instructions, each with those that may come next, whatever order they lie in.

    Where the lines of a source break, the compiler fills in instructions that do nothing, jumps
    over other jumps, and makes exits twice: of that nothing is left.
    """
    shown = list(dis.get_instructions(code))
    index_of = {instruction.offset: index for index, instruction in enumerate(shown)}
    parts: list[list[object]] = [[] for _ in shown]
    nodes = [_instruction(each, inner) for each, inner in zip(shown, parts, strict=True)]

    def at(index: int) -> object:
        passed = set()
        while index not in passed and (each := shown[index]).opname in _PASSED:
            passed.add(index)
            index = index_of[each.argval] if each.opcode in _JUMPS else index + 1
        return "forever" if index in passed else nodes[index]

    for index, each in enumerate(shown):
        parts[index] += [at(other) for other in _following(shown, index, index_of)]
        if each.opcode in dis.hasconst:
            parts[index].append(each.argval)
    for block in dis.Bytecode(code).exception_entries:  # type: ignore[attr-defined]
        handler = Node(f"handler {block.depth} {block.lasti}", (at(index_of[block.target]),))
        for index in range(index_of[block.start], index_of.get(block.end, len(shown))):
            if shown[index].opcode not in dis.haslocal:
                parts[index].append(handler)
    return Node("flow", (at(0),))


def _following(
    shown: Sequence[dis.Instruction], index: int, index_of: Mapping[int, int]
) -> list[int]:
    """Which instructions may come next: of a test that where it holds is the last one."""
    each = shown[index]
    ends = each.opname in _LAST or each.opname in _PASSED
    following = [] if ends else [index + 1]
    if any(later.argval == _LINE for later in shown[index + 2 : index + 3]):
        # From 3.13 on, the body of a class notes the line where it begins.
        following = [index + 3]
    if each.opcode in _JUMPS:
        following.append(index_of[each.argval])
    return following[::-1] if each.opname.endswith(("_IF_FALSE", "_IF_NOT_NONE")) else following


# fmt: off
_PASSED = frozenset(
    {
        "NOP", "EXTENDED_ARG", "NOT_TAKEN",
        "JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT",
    }
)
# fmt: on
_LAST = frozenset({"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"})
_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})


def _instruction(instruction: dis.Instruction, parts: list[object]) -> Node:
    name = re.sub("_FORWARD|_BACKWARD|_BORROW", "", instruction.opname)
    if instruction.opcode in dis.haslocal:
        # Two that stand on one line may be one instruction.
        variables = instruction.argval
        variables = variables if isinstance(variables, tuple) else (variables,)
        names = re.findall("[A-Z]+_FAST(?:_CHECK|_AND_CLEAR)?", name)
        for each, variable in reversed([*zip(names, variables, strict=True)]):
            node = Node(f"{each} {variable}", parts)
            parts = [node]
        return node
    if instruction.opcode in _JUMPS:
        return Node(name.replace("_IF_FALSE", "_IF_TRUE").replace("_NOT_NONE", "_NONE"), parts)
    shows = instruction.arg is None or instruction.opcode in dis.hasconst
    return Node(name if shows else f"{name} {instruction.arg}", parts)


def look_at_class(cls: type) -> Node:
    """A class: by name where it is a library's, else with its bases and all that it defines."""
    if not is_users(cls.__module__) and (name := import_name(cls)) is not None:
        return Node(f"import {name}")
    if issubclass(cls, Enum):
        return _look_at_enum(cls)
    parts: list[object] = [Node("bases", cls.__bases__), Node("metaclass", (type(cls),))]
    parts += [named(name, value) for name, value in sorted(_own(cls).items())]
    parts.append(Node("annotations", (_annotations(cls) if _has_annotations(cls) else None,)))
    return Node(f"class {cls.__name__}", parts)


def _has_annotations(cls: type) -> bool:
    return any(name.startswith("__annot") for name in vars(cls))


def _look_at_enum(cls: type[Enum]) -> Node:
    members = [named(name, member._value_) for name, member in cls.__members__.items()]
    functions = [
        named(name, value)
        for name, value in sorted(_own(cls).items())
        if isinstance(value, types.FunctionType | classmethod | staticmethod | property)
        and name not in ("__new__", "_generate_next_value_", "__reduce_ex__")
    ]
    return Node(f"enum {cls.__name__}", (*cls.__bases__, *members, *functions))


def _own(cls: type) -> dict[str, Any]:
    """What a class defines itself, without what is made for it."""
    return {
        name: value
        for name, value in vars(cls).items()
        if name not in _NOT_OF_CLASS
        and not name.startswith(("__pydantic_", "_abc_"))
        and not isinstance(value, types.GetSetDescriptorType)
    }
