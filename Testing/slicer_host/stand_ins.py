"""Which class of Slicer or the CTK each stand-in stands for, and what Python may therefore use of it.

A stand-in may lack what nobody needs; it never offers more than the application does in every version of the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from Testing.slicer_host.callers import asked_from_outside
from Testing.slicer_host.reachable import VERSIONS, Members, members, qt_names

Class = TypeVar("Class", bound=type)

registered: dict[type, str] = {}
"""Every stand-in, and the name of the class it stands for."""
PYTHONQT = frozenset({"connect", "disconnect", "className", "help", "delete", "inherits", "name"})
"""What PythonQt gives to every object."""


def register(cls: Class, name: str) -> Class:
    """Notes what a class stands for; `stands_for` and `properties.stand_in` do it with what else the class needs."""
    registered[cls] = name
    return cls


def stands_for(name: str) -> Callable[[Class], Class]:
    """Decorator of a stand-in that is no Qt object: from outside, it has the members of the tables and no others."""

    def guard(cls: Class) -> Class:
        cls.__getattribute__ = _get_strictly  # type: ignore[attr-defined]
        cls.__setattr__ = _set_strictly  # type: ignore[attr-defined]
        return register(cls, name)

    return guard


@cache
def role(cls: type) -> Members | None:
    """What a class stands for; None for a class of Qt."""
    return next((members(registered[base]) for base in cls.__mro__ if base in registered), None)


@cache
def refusal(cls: type, name: str) -> str:
    """Why Python does not reach a member of a class; empty where it does, and for classes that stand for none."""
    stood_for = role(cls)
    if stood_for is None or name.startswith("__") or _reaches(stood_for, name):
        return ""
    said = f"{stood_for.name} has no attribute named '{name}'"
    if name in stood_for.cpp_only:
        return f"{said}: in Slicer it is a C++ method, which PythonQt does not show to Python"
    missing = [version for version in VERSIONS if name not in members(stood_for.name, version).names]
    return f"{said} in Slicer {', '.join(missing)}"


def _reaches(stood_for: Members, name: str) -> bool:
    if name in stood_for.names or name in PYTHONQT:
        return True
    try:
        return name in qt_names(stood_for.qt_base)
    except ImportError:
        return name not in stood_for.cpp_only  # Without Qt, what its classes offer is not known.


def lacking(cls: type, name: str) -> str:
    """What is said of a member that the stand-in does not have."""
    stood_for = role(cls)
    known = stood_for.name if stood_for is not None else cls.__name__
    return refusal(cls, name) or f"{known} has '{name}' in Slicer, but its stand-in does not: add it there"


def _get_strictly(self: Any, name: str) -> Any:
    refused = refusal(type(self), name)
    if refused and asked_from_outside():
        raise AttributeError(refused)
    try:
        return object.__getattribute__(self, name)
    except AttributeError:
        if name.startswith("_") or hasattr(type(self), "__getattr__"):
            raise
        raise AttributeError(lacking(type(self), name)) from None


def _set_strictly(self: Any, name: str, value: Any) -> None:
    if asked_from_outside():
        stood_for = role(type(self))
        if stood_for is None or name not in stood_for.properties:
            raise AttributeError(f"{type(self).__name__} has no property '{name}', and PythonQt does not create one")
    object.__setattr__(self, name, value)
