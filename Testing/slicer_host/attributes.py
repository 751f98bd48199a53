"""Attributes as PythonQt gives them: properties by name, nothing new, nothing that only C++ or PySide6 has."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from Testing.slicer_host import stand_ins
from Testing.slicer_host.callers import asked_from_outside
from Testing.slicer_host.signals import BoundSignal, connect_by_signature, disconnect_by_signature

QObject = QtCore.QObject
_KEPT_AS_METHODS = {"parent", "children", "layout"}
_ORIGINAL_GET = QObject.__getattribute__
_ORIGINAL_SET = shiboken6.Shiboken.Object.__setattr__
_MISSING = object()
_being_read: set[tuple[int, str]] = set()


class _AlsoOfClass(property):
    """A property of objects whose class has a function of the same name, as QTimer has with `singleShot`."""

    function: Any = None

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        return self.function if owner is None else super().__get__(owner, kind)


def make_properties(cls: type, of_class: dict[tuple[str, str], Any]) -> None:
    """Gives a class of Qt its properties; `of_class` are functions of a class that share their name with one."""
    meta = cls.staticMetaObject  # type: ignore[attr-defined]
    for index in range(meta.propertyCount()):
        described = meta.property(index)
        name = described.name()
        inherited = index < meta.propertyOffset() and name not in vars(cls)
        if name in _KEPT_AS_METHODS or inherited:
            continue
        read, write = _accessors(name, getattr(cls, f"set{name[0].upper()}{name[1:]}", None))
        kind = _AlsoOfClass if (cls.__name__, name) in of_class else property
        made = kind(read, write if described.isWritable() else None)
        if isinstance(made, _AlsoOfClass):
            made.function = of_class[cls.__name__, name]
        setattr(cls, name, made)


def _accessors(name: str, setter: Callable[..., Any] | None) -> tuple[Callable[[Any], Any], Callable[[Any, Any], None]]:
    def read(self: Any) -> Any:
        key = (id(self), name)
        if key in _being_read:
            # Some are virtual methods too (sizeHint): PySide6 asks here whether there is one in Python.
            return None
        _being_read.add(key)
        try:
            return QObject.property(self, name)
        finally:
            _being_read.discard(key)

    def write(self: Any, value: Any) -> None:
        if setter is not None:
            setter(self, value)
        elif not QObject.setProperty(self, name, value):
            raise AttributeError(f"{type(self).__name__}.{name} does not take {value!r}")

    return read, write


def _set_strictly(self: Any, name: str, value: Any) -> None:
    found = inspect.getattr_static(type(self), name, _MISSING)
    if found is not _MISSING and (refused := stand_ins.refusal(type(self), name)) and asked_from_outside():
        raise AttributeError(refused)
    if isinstance(found, QtCore.Property):
        # PySide6 looks for its properties in the slot that this function took the place of.
        if not QObject.setProperty(self, name, list(value) if isinstance(value, tuple) else value):
            raise AttributeError(f"{type(self).__name__}.{name} does not take {value!r}")
        return
    if asked_from_outside():
        if found is _MISSING:
            raise AttributeError(f"{type(self).__name__} has no attribute {name}, and PythonQt does not create one")
        if not isinstance(found, property):
            raise AttributeError(f"{type(self).__name__}.{name} is a method or signal and cannot be set")
    _ORIGINAL_SET(self, name, value)


def get_strictly(self: Any, name: str) -> Any:
    if name == "connect":
        return types.MethodType(connect_by_signature, self)
    if name == "disconnect":
        return types.MethodType(disconnect_by_signature, self)
    try:
        value = _ORIGINAL_GET(self, name)
    except AttributeError:
        if stand_ins.role(type(self)) is None:
            raise
        raise AttributeError(stand_ins.lacking(type(self), name)) from None
    if (refused := stand_ins.refusal(type(self), name)) and not name.startswith("_") and asked_from_outside():
        raise AttributeError(refused)
    if isinstance(value, QtCore.SignalInstance) and asked_from_outside():
        return BoundSignal(self, name)
    private = name.startswith("_") and not name.startswith("__")
    if private and asked_from_outside() and name in sys._getframe(1).f_code.co_names:
        raise AttributeError(f"{type(self).__name__} has no attribute {name}: it is the stand-in's own")
    return value


def _construct_strictly(original: Callable[..., None]) -> Callable[..., None]:
    def construct(self: Any, *arguments: Any, **keywords: Any) -> None:
        if keywords and asked_from_outside():
            given = ", ".join(f"{keyword}=…" for keyword in keywords)
            raise TypeError(f"PythonQt constructors take no keyword arguments: {type(self).__name__}({given})")
        original(self, *arguments, **keywords)

    return construct


def conform(cls: type) -> type:
    """Makes a class strict; a decorator for the stand-ins of ctk and qMRML classes."""
    cls.__setattr__ = _set_strictly  # type: ignore[method-assign, assignment]
    cls.__init__ = _construct_strictly(cls.__init__)  # type: ignore[misc]
    return cls
