"""Loads `.ui` files on the stand-ins: every custom widget must have one, and every connection must exist."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from Testing.slicer_host import ctk_widgets, editor_widget, mrml_widgets, plot_view
from Testing.slicer_host.pythonqt import signatures

STAND_INS: tuple[type, ...] = (
    *ctk_widgets.WIDGETS,
    *mrml_widgets.WIDGETS,
    editor_widget.qMRMLSegmentEditorWidget,
    plot_view.qMRMLPlotView,
)


class QUiLoader(QtUiTools.QUiLoader):
    """PythonQt's loader; the connections of the file are made here, because Qt cannot carry VTK objects between the stand-ins."""

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


def _join(item: ET.Element, named: dict[str, Any]) -> None:
    sender, receiver = (named[str(item.findtext(key))] for key in ("sender", "receiver"))
    signal, slot = str(item.findtext("signal")), str(item.findtext("slot"))
    if signal not in signatures(sender):
        raise RuntimeError(f"{type(sender).__name__} has no signal {signal}")
    getattr(sender, signal.partition("(")[0]).connect(getattr(receiver, slot.partition("(")[0]))
