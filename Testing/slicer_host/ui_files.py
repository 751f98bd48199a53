"""Loads `.ui` files on the stand-ins: each custom widget must have one, each connection and property must exist."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from Testing.slicer_host import ctk_widgets, mrml_widgets, stand_ins
from Testing.slicer_host.reachable import members, qt_class
from Testing.slicer_host.signals import signatures

STAND_INS: tuple[type, ...] = (*ctk_widgets.WIDGETS, *mrml_widgets.WIDGETS)


class QUiLoader(QtUiTools.QUiLoader):
    """PythonQt's loader.

    The connections of the file are made here, because Qt cannot carry VTK objects between the stand-ins.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for cls in STAND_INS:
            self.registerCustomWidget(cls)

    def load(self, file: QtCore.QFile, parent: Any = None) -> QtWidgets.QWidget:
        root = ET.fromstring(bytes(file.readAll().data()))
        _refuse_unknown(root)
        connections = root.find("connections")
        wanted = list(connections) if connections is not None else []
        if connections is not None:
            root.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        widget = super().load(buffer, parent)
        named = {child.objectName: child for child in [widget, *widget.findChildren(QtCore.QObject)]}
        for item in wanted:
            _join(item, named)
        # PySide6 may collect the wrapper, and with it the Python half, of a child that only Qt holds.
        widget._named = named
        return widget


def _refuse_unknown(root: ET.Element) -> None:
    custom = {item.findtext("class") for item in root.iter("customwidget")}
    unknown = custom - {cls.__name__ for cls in STAND_INS}
    used = {item.get("class") for item in root.iter("widget")}
    if unknown & used:
        raise RuntimeError(f"there is no stand-in for {sorted(str(name) for name in unknown & used)}")
    undeclared = {name for name in used if name and name.startswith(("ctk", "qMRML", "qSlicer"))} - custom
    if undeclared:
        raise RuntimeError(f"the file does not declare its custom widgets {sorted(undeclared)}")
    for item in root.iter("widget"):
        if item.get("class") in custom:
            _refuse_unknown_properties(item)


def _refuse_unknown_properties(item: ET.Element) -> None:
    """Qt would set a property that the class does not have as a dynamic one, without a word."""
    known = members(str(item.get("class")))
    meta = qt_class(known.qt_base).staticMetaObject  # type: ignore[attr-defined]
    for found in item.findall("property"):
        name = str(found.get("name"))
        if found.get("stdset") != "0" and name not in known.properties and meta.indexOfProperty(name) < 0:
            raise RuntimeError(f"{known.name} has no property {name}")


def _join(item: ET.Element, named: dict[str, Any]) -> None:
    sender, receiver = (named[str(item.findtext(key))] for key in ("sender", "receiver"))
    signal, slot = str(item.findtext("signal")), str(item.findtext("slot"))
    if signal not in signatures(sender):
        raise RuntimeError(f"{type(sender).__name__} has no signal {signal}")
    if refused := stand_ins.refusal(type(receiver), slot.partition("(")[0]):
        raise RuntimeError(refused)
    getattr(sender, signal.partition("(")[0]).connect(getattr(receiver, slot.partition("(")[0]))
