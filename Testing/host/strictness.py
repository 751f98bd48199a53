"""Finds what a stand-in offers to Python and Slicer does not."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from PySide6 import QtCore

from Testing.slicer_host import stand_ins
from Testing.slicer_host.reachable import Members, members, qt_class, qt_names

PACKAGE = stand_ins.__name__.rpartition(".")[0]
SLICER_CLASS = re.compile(r"(ctk|qMRML|qSlicer)[A-Z]\w*")


def host_classes() -> list[type]:
    """Every class that a module of the stand-in host defines."""
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{PACKAGE}.")]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return sorted((cls for cls in found if cls.__module__.startswith(PACKAGE)), key=lambda cls: cls.__name__)


def unclaimed(classes: list[type]) -> list[str]:
    """Classes that a panel would take for a class of Slicer's or of Qt's, and that are held to no table."""
    return [cls.__name__ for cls in classes if cls not in stand_ins.registered and _looks_like_one(cls)]


def _looks_like_one(cls: type) -> bool:
    if SLICER_CLASS.fullmatch(cls.__name__):
        return True
    # The host's own timers and the like carry the name of their class of Qt; what stand-ins are made of is in them.
    halves = any(issubclass(each, cls) for each in stand_ins.registered)
    return issubclass(cls, QtCore.QObject) and not halves and not cls.__name__.startswith("Q")


def excess(cls: type, version: str) -> list[str]:
    """What a stand-in offers beyond the class it stands for in one version, or offers as something else."""
    stood_for = stand_ins.role(cls)
    assert stood_for is not None, cls
    known = members(stood_for.name, version)
    found = [said for name, value in _own(cls) for said in _compare(known, name, value)]
    return [*found, *_base_excess(cls, known)]


def reached(thing: Any) -> set[str]:
    """The names of an object that Python can use, found by trying."""
    names = {*dir(type(thing)), *object.__getattribute__(thing, "__dict__")}
    return {name for name in names if not name.startswith("_") and _can_be_read(thing, name)}


def _can_be_read(thing: Any, name: str) -> bool:
    try:
        getattr(thing, name)
    except AttributeError:
        return False
    except (TypeError, RuntimeError):
        return True  # It is there, but means nothing on this object.
    return True


def _own(cls: type) -> Iterator[tuple[str, Any]]:
    """The public members that the host gives to a class, in it and in its bases as far as they are the host's."""
    for base in cls.__mro__:
        if base.__module__.split(".")[0] in ("PySide6", "Shiboken", "shiboken6", "builtins"):
            return
        yield from ((name, value) for name, value in vars(base).items() if not name.startswith("_"))


def _compare(known: Members, name: str, value: Any) -> Iterator[str]:
    if name in qt_names(known.qt_base):
        return
    kind = _kind(value)
    if name not in known.names:
        why = "a C++ method only" if name in known.cpp_only else "not there"
        yield f"{known.name}.{name}: {why}"
    elif name not in getattr(known, kind):
        yield f"{known.name}.{name}: none of its {kind}"


def _kind(value: Any) -> str:
    if isinstance(value, QtCore.Signal):
        return "signals"
    is_property = isinstance(value, (QtCore.Property, property)) or not callable(value)
    return "properties" if is_property else "methods"


def _base_excess(cls: type, known: Members) -> Iterator[str]:
    """A class of Qt that is further down than the real base offers what that base does not."""
    base = next((base for base in cls.__mro__ if base.__module__.startswith("PySide6")), None)
    if base is not None and not issubclass(qt_class(known.qt_base), base):
        yield f"{known.name} is a {known.qt_base}, not a {base.__name__}"
