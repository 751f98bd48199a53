"""PySide6 made to behave as PythonQt does, and to refuse what PythonQt refuses.

Qt properties become attributes; signals are connected by signature or by name; nothing creates an attribute on a
widget; what only PySide6 offers (emit, keyword arguments of constructors, private names) is refused to code outside
this package, and so is every member of a class of Slicer or the CTK that PythonQt does not show. Source of the rules:
PythonQtInstanceWrapper.cpp and PythonQtSignal.cpp of commontk/PythonQt.
"""

from __future__ import annotations

import ctypes
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from Testing.slicer_host import event_loop
from Testing.slicer_host.attributes import conform, get_strictly, make_properties
from Testing.slicer_host.signals import Call, calls, connect, errors, live_connections, note_error

__all__ = ["Call", "calls", "conform", "errors", "live_connections", "make_qt", "note_error", "timers"]

QObject = QtCore.QObject

timers: weakref.WeakSet[QtCore.QTimer] = weakref.WeakSet()
"""Every timer that code outside the host made and that is alive."""


class QTimer(QtCore.QTimer):
    """A timer that the leak tests can count."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        timers.add(self)


def _single_shot(milliseconds: int, slot: Callable[[], Any]) -> None:
    """Calls a slot once, later; PySide6's own goes by ways that are closed here."""
    timer = QtCore.QTimer()
    timer.setSingleShot(True)
    _waiting.add(timer)

    def call() -> None:
        _waiting.discard(timer)
        slot()

    connect(timer, "timeout", call, 0)
    timer.start(milliseconds)


_waiting: set[QtCore.QTimer] = set()
_OF_CLASSES = {("QTimer", "singleShot"): _single_shot}
"""Functions of a class that share their name with a property of its objects."""


class QMessageBox(QtWidgets.QMessageBox):
    """Would wait for a click that never comes: Slicer does not suppress it in testing mode."""

    def exec(self) -> int:
        raise RuntimeError("a raw QMessageBox hangs without a screen; use slicer.util's displays")

    exec_ = exec


def _classes() -> list[type]:
    found = []
    for module in (QtCore, QtGui, QtWidgets, QtUiTools):
        for name in dir(module):
            value = getattr(module, name)
            if isinstance(value, type) and issubclass(value, QObject):
                found.append(value)
    return found


def _keep_constants_alive() -> None:
    """PySide6 6.12 gives back None and True once too often in each emission: before Python 3.12, a crash."""
    if sys.version_info < (3, 12):
        for constant in (None, True, False):
            ctypes.c_ssize_t.from_address(id(constant)).value += 2**40


def make_qt() -> types.ModuleType:
    """The module `qt`: the classes and the namespace Qt, none of PySide6's own helpers. To be called once a process."""
    _keep_constants_alive()
    sys.excepthook = note_error
    event_loop.install()
    for cls in _classes():
        make_properties(cls, _OF_CLASSES)
        conform(cls)
    for cls in (QObject, QtCore.QProcess):  # QProcess has one of its own.
        cls.__getattribute__ = get_strictly  # type: ignore[method-assign, assignment]
    named = property(lambda self: self.objectName, lambda self, value: self.setObjectName(value))
    QObject.name = named  # type: ignore[attr-defined]
    QObject.className = lambda self: type(self).__name__  # type: ignore[attr-defined]
    QObject.isWidgetType = lambda self: isinstance(self, QtWidgets.QWidget)  # type: ignore[method-assign]
    module = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets, QtUiTools):
        for name in dir(source):
            if name.startswith("Q") and name != "QtMsgType":
                setattr(module, name, getattr(source, name))
    for own in (QTimer, QMessageBox):
        setattr(module, own.__name__, own)
    return module
