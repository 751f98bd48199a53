"""Signals as PythonQt gives them: connected by name or by signature, with slots that get what they take."""

from __future__ import annotations

import functools
import inspect
import sys
import time
import traceback
from collections import deque
from dataclasses import dataclass
from typing import Any

import shiboken6
from PySide6 import QtCore

_ORIGINAL_GET = QtCore.QObject.__getattribute__

errors: list[str] = []
"""Tracebacks of the exceptions that left a slot or an observer: failures, as in Slicer's testing mode."""
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
    """Keeps and prints an exception that nothing caught; VTK calls it for observers, in place of `sys.excepthook`."""
    text = "".join(traceback.format_exception(kind, error, trace))
    errors.append(text)
    sys.stderr.write(text)


class BoundSignal:
    """A signal of one object as PythonQt gives it: connect and disconnect, and nothing else."""

    __slots__ = ("_name", "_sender")

    def __init__(self, sender: Any, name: str) -> None:
        self._sender, self._name = sender, name

    def connect(self, slot: Any) -> bool:
        return connect(self._sender, self._name, slot, None)

    def disconnect(self, slot: Any) -> bool:
        return _disconnect(self._sender, self._name, slot)


def signatures(sender: Any) -> set[str]:
    """Signals of an object, written as in C++."""
    return class_signatures(type(sender))


@functools.cache
def class_signatures(cls: Any) -> set[str]:
    """Signals of a class, written as in C++; stand-ins list those whose arguments are VTK objects in `_SIGNALS`."""
    meta = cls.staticMetaObject
    methods = (meta.method(index) for index in range(meta.methodCount()))
    signals = (method for method in methods if method.methodType() == QtCore.QMetaMethod.MethodType.Signal)
    # Qt 6 knows the name that a type has in C++ for the one that PySide6 tells.
    found = {method.methodSignature().data().decode().replace("qlonglong", "qint64") for method in signals}
    written = {signature for base in cls.__mro__ for signature in vars(base).get("_SIGNALS", ())}
    return {signature for signature in found if "PyObject" not in signature} | written


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


def connect_by_signature(self: Any, signature: str, slot: Any) -> bool:
    name, count = _parsed(self, signature)
    return connect(self, name, slot, count)


def disconnect_by_signature(self: Any, signature: str, slot: Any) -> bool:
    return _disconnect(self, _parsed(self, signature)[0], slot)


def _accepted(slot: Any, given: int | None) -> int | None:
    """How many arguments a slot is called with: PythonQt drops those that a function does not take."""
    function = slot.__func__ if inspect.ismethod(slot) else slot
    if not inspect.isfunction(function) or function.__code__.co_flags & inspect.CO_VARARGS:
        return given
    takes = function.__code__.co_argcount - inspect.ismethod(slot)
    return takes if given is None else min(takes, given)


def connect(sender: Any, name: str, slot: Any, given: int | None) -> bool:
    if not callable(slot):
        raise TypeError(f"{slot!r} cannot be connected to {name}")
    count = _accepted(slot, given)

    def run(*arguments: Any) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            slot(*arguments[:count])
        except Exception as error:
            note_error(type(error), error, error.__traceback__)
        calls.append(
            Call(getattr(slot, "__qualname__", str(slot)), time.perf_counter() - wall, time.thread_time() - cpu)
        )

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
