"""PySide6 made to behave as PythonQt does, and to refuse what PythonQt refuses.

Qt properties become attributes; signals are connected by signature or by name; nothing creates an attribute on a widget; what only PySide6
offers (emit, keyword arguments of constructors, private names) is refused to code outside this package. Source of the rules: PythonQt's
PythonQtInstanceWrapper.cpp and PythonQtSignal.cpp, commontk/PythonQt.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
import time
import traceback
import types
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

QObject = QtCore.QObject
_KEPT_AS_METHODS = {"parent", "children", "layout"}
_INSIDE = __name__.rpartition(".")[0]
_ORIGINAL_GET = QObject.__getattribute__
_ORIGINAL_SET = shiboken6.Shiboken.Object.__setattr__
_MISSING = object()

errors: list[str] = []
"""Tracebacks of the exceptions that left a slot or an observer; Slicer's testing mode counts them as failures, and so do the tests."""
timers: weakref.WeakSet[QtCore.QTimer] = weakref.WeakSet()
"""Every timer that code outside the host made and that is alive."""
calls: deque[Call] = deque(maxlen=100_000)
"""Every call of a slot, the newest last."""
_connections: dict[tuple[int, str], list[tuple[Any, Any]]] = {}


@dataclass(frozen=True)
class Call:
    """One call of a slot: seconds on the clock, and seconds in which its thread computed."""

    slot: str
    wall: float
    cpu: float


def live_connections() -> int:
    """Connections made by name or signature whose sender is alive."""
    return sum(len(pairs) for pairs in _connections.values())


def note_error(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Keeps and prints an exception that nothing caught; also takes the place of `sys.excepthook`, which VTK calls for its observers."""
    text = "".join(traceback.format_exception(kind, error, trace))
    errors.append(text)
    sys.stderr.write(text)


def _asked_from_outside(depth: int = 2) -> bool:
    return not str(sys._getframe(depth).f_globals.get("__name__", "")).startswith(_INSIDE)


# Properties


def _property(name: str, writable: bool, setter: Callable[..., Any] | None) -> property:
    def read(self: Any) -> Any:
        return QObject.property(self, name)

    def write(self: Any, value: Any) -> None:
        if setter is not None:
            setter(self, value)
        elif not QObject.setProperty(self, name, value):
            raise AttributeError(f"{type(self).__name__}.{name} does not take {value!r}")

    return property(read, write if writable else None)


def _make_properties(cls: type) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        described = meta.property(index)
        name = described.name()
        if name not in _KEPT_AS_METHODS:
            setter = getattr(cls, f"set{name[0].upper()}{name[1:]}", None)
            setattr(cls, name, _property(name, described.isWritable(), setter))


# Attributes


def _set_strictly(self: Any, name: str, value: Any) -> None:
    found = inspect.getattr_static(type(self), name, _MISSING)
    if isinstance(found, QtCore.Property):
        # PySide6 looks for its properties in the slot that this function took the place of.
        if not QObject.setProperty(self, name, list(value) if isinstance(value, tuple) else value):
            raise AttributeError(f"{type(self).__name__}.{name} does not take {value!r}")
        return
    if _asked_from_outside():
        if found is _MISSING:
            raise AttributeError(f"{type(self).__name__} has no attribute {name}, and PythonQt does not create one")
        if not isinstance(found, property):
            raise AttributeError(f"{type(self).__name__}.{name} is a method or signal and cannot be set")
    _ORIGINAL_SET(self, name, value)


def _get_strictly(self: Any, name: str) -> Any:
    if name == "connect":
        return types.MethodType(_connect_by_signature, self)
    if name == "disconnect":
        return types.MethodType(_disconnect_by_signature, self)
    value = _ORIGINAL_GET(self, name)
    if isinstance(value, QtCore.SignalInstance) and _asked_from_outside():
        return BoundSignal(self, name)
    if name.startswith("_") and not name.startswith("__") and _asked_from_outside() and name in sys._getframe(1).f_code.co_names:
        raise AttributeError(f"{type(self).__name__} has no attribute {name}: it is the stand-in's own")
    return value


def _construct_strictly(original: Callable[..., None]) -> Callable[..., None]:
    def construct(self: Any, *arguments: Any, **keywords: Any) -> None:
        if keywords and _asked_from_outside():
            raise TypeError(f"PythonQt constructors take no keyword arguments: {type(self).__name__}({', '.join(keywords)}=…)")
        original(self, *arguments, **keywords)

    return construct


# Signals


class BoundSignal:
    """A signal of one object as PythonQt gives it: connect and disconnect, and nothing else."""

    __slots__ = ("_name", "_sender")

    def __init__(self, sender: Any, name: str) -> None:
        self._sender, self._name = sender, name

    def connect(self, slot: Any) -> bool:
        return _connect(self._sender, self._name, slot, None)

    def disconnect(self, slot: Any) -> bool:
        return _disconnect(self._sender, self._name, slot)


def signatures(sender: Any) -> set[str]:
    """Signals of an object, written as in C++; stand-ins list those whose arguments are VTK objects in `SIGNALS`."""
    meta = sender.metaObject()
    methods = (meta.method(index) for index in range(meta.methodCount()))
    found = {method.methodSignature().data().decode() for method in methods if method.methodType() == QtCore.QMetaMethod.MethodType.Signal}
    return found | set(getattr(type(sender), "SIGNALS", ()))


def _longest(sender: Any, name: str) -> int:
    """How many arguments the signal of a name has, in its longest form."""
    return max(_count(signature) for signature in signatures(sender) if signature.startswith(f"{name}("))


def _count(signature: str) -> int:
    return len([part for part in signature.rstrip(")").partition("(")[2].split(",") if part])


def _parsed(sender: Any, signature: str) -> tuple[str, int]:
    wanted = QtCore.QMetaObject.normalizedSignature(signature).data().decode()
    if wanted not in signatures(sender):
        raise ValueError(f"{type(sender).__name__} has no signal {signature}")
    return wanted.partition("(")[0], _count(wanted)


def _connect_by_signature(self: Any, signature: str, slot: Any) -> bool:
    name, count = _parsed(self, signature)
    return _connect(self, name, slot, count)


def _disconnect_by_signature(self: Any, signature: str, slot: Any) -> bool:
    return _disconnect(self, _parsed(self, signature)[0], slot)


def _accepted(slot: Any, given: int | None) -> int | None:
    """How many arguments a slot is called with: PythonQt drops those that a function does not take."""
    function = slot.__func__ if inspect.ismethod(slot) else slot
    if not inspect.isfunction(function) or function.__code__.co_flags & inspect.CO_VARARGS:
        return given
    takes = function.__code__.co_argcount - inspect.ismethod(slot)
    return takes if given is None else min(takes, given)


def _connect(sender: Any, name: str, slot: Any, given: int | None) -> bool:
    if not callable(slot):
        raise TypeError(f"{slot!r} cannot be connected to {name}")
    count = _accepted(slot, given)

    def run(*arguments: Any) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            slot(*arguments[:count])
        except Exception as error:
            note_error(type(error), error, error.__traceback__)
        calls.append(Call(getattr(slot, "__qualname__", str(slot)), time.perf_counter() - wall, time.thread_time() - cpu))

    # PySide6 gives as many arguments as it counts in the signature, and none where it cannot count.
    call = (lambda: run(), lambda a: run(a), lambda a, b: run(a, b))[_longest(sender, name)]
    key = (shiboken6.getCppPointer(sender)[0], name)
    if key not in _connections:
        _connections[key] = []
        _ORIGINAL_GET(sender, "destroyed").connect(lambda *_: _connections.pop(key, None))
    _connections[key].append((slot, call))
    _ORIGINAL_GET(sender, name).connect(call)
    return True


def _disconnect(sender: Any, name: str, slot: Any) -> bool:
    pairs = _connections.get((shiboken6.getCppPointer(sender)[0], name), [])
    for pair in pairs:
        if pair[0] == slot:
            pairs.remove(pair)
            _ORIGINAL_GET(sender, name).disconnect(pair[1])
            return True
    return False


# The module `qt`


class QTimer(QtCore.QTimer):
    """A timer that the leak tests can count."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        timers.add(self)


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


def conform(cls: type) -> type:
    """Makes a class strict; a decorator for the stand-ins of ctk and qMRML classes."""
    cls.__setattr__ = _set_strictly  # type: ignore[method-assign, assignment]
    cls.__init__ = _construct_strictly(cls.__init__)  # type: ignore[misc]
    return cls


def _keep_constants_alive() -> None:
    """PySide6 6.12 gives back None and True once too often in each emission, which ends the process where Python counts them (before 3.12)."""
    if sys.version_info < (3, 12):
        for constant in (None, True, False):
            ctypes.c_ssize_t.from_address(id(constant)).value += 2**40


def make_qt() -> types.ModuleType:
    """The module `qt`: the classes and the namespace Qt, none of PySide6's own helpers. To be called once in a process."""
    _keep_constants_alive()
    sys.excepthook = note_error
    for cls in _classes():
        _make_properties(cls)
        conform(cls)
    QObject.__getattribute__ = _get_strictly  # type: ignore[method-assign, assignment]
    QObject.name = property(lambda self: self.objectName, lambda self, value: self.setObjectName(value))  # type: ignore[attr-defined]
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
