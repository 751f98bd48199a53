"""Qt properties that a stand-in keeps itself, and the decorator of the stand-ins that are widgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtWidgets

from Testing.slicer_host import stand_ins
from Testing.slicer_host.attributes import conform
from Testing.slicer_host.reachable import members


def stored(kind: Any, name: str, default: Any) -> QtCore.Property:
    """A Qt property kept in the widget; a method `_changed_<name>`, where there is one, hears of new values."""

    def read(self: Any) -> Any:
        return self.__dict__.get(f"_stored_{name}", default)

    def write(self: Any, value: Any) -> None:
        self.__dict__[f"_stored_{name}"] = value
        changed: Callable[[Any], None] | None = getattr(self, f"_changed_{name}", None)
        if changed is not None:
            changed(value)

    return QtCore.Property(kind, read, write)


def stand_in(cls: type) -> type:
    """Decorator of a widget that stands for the class of its name: strict, with the setters that are slots there."""
    reachable = members(cls.__name__).methods
    for name, value in list(vars(cls).items()):
        setter = f"set{name[0].upper()}{name[1:]}"
        if isinstance(value, QtCore.Property) and setter in reachable and not hasattr(cls, setter):
            setattr(cls, setter, _setter(name))
    return stand_ins.register(conform(cls), cls.__name__)


def _setter(name: str) -> Callable[[Any, Any], None]:
    def set_value(self: Any, value: Any) -> None:
        setattr(self, name, value)

    return set_value


def row_of(*widgets: QtWidgets.QWidget) -> QtWidgets.QHBoxLayout:
    """A row of widgets without margins."""
    layout = QtWidgets.QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return layout
