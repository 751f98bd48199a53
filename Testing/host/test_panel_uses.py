"""What the module's sources use of Qt objects can be used from Python, in Slicer 5.10, in 5.12 and on main."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

from PySide6 import QtCore

import Testing.slicer_host.application  # noqa: F401  (imports every stand-in)
from Testing.host.uses import Form, Use, find_uses, find_uses_in
from Testing.slicer_host import stand_ins
from Testing.slicer_host.reachable import VERSIONS, is_known, members, qt_class, qt_names
from Testing.slicer_host.signals import class_signatures

MODULE = Path(__file__).resolve().parents[2] / "IterMask3D"
FORM = MODULE / "Resources" / "UI" / "IterMask3D.ui"
_NAMES_QT = re.compile(r"\b(slicer|qt|ctk|_?ui)\b")
FILES = [path for path in sorted(MODULE.rglob("*.py")) if _NAMES_QT.search(path.read_text(encoding="utf-8"))]
METHODS_IN_PYTHON = {"parent", "children", "layout"}
"""Properties or not, PythonQt shows them as methods."""


def problems(use: Use) -> list[str]:
    """Why a use fails in the application; empty where it does not, with any one of the classes."""
    each = [_problems_with(use, cls) for cls in use.classes]
    return [] if not all(each) else [said for found in each for said in found]


def _problems_with(use: Use, cls: str) -> list[str]:
    if cls.startswith(("ctk", "qMRML", "qSlicer")):
        if not is_known(cls):
            return [f"{use.place}: {cls} is not in the tables; see Testing/slicer_host/reachable/README.md"]
        found = [_problem_in(use, cls, version) for version in VERSIONS]
    else:
        found = [_problem_of_qt(use, cls)]
    return [f"{use.place}: {cls} {said}" for said in dict.fromkeys(filter(None, found))]


def _problem_in(use: Use, cls: str, version: str) -> str:
    known = members(cls, version)
    name = use.member.partition("(")[0]
    if name not in known.names:
        why = "is a C++ method only" if name in known.cpp_only else "does not exist"
        said = _problem_of_qt(use, known.qt_base)
        return said and f"{said} ({name} {why} in Slicer {version})"
    if use.how == "signal":
        return _problem_of_signal(use, cls, name in known.signals)
    if use.how == "set" and name not in known.properties:
        return f"cannot set {name}: no property in Slicer {version}"
    if use.how == "call" and name in known.properties - known.methods:
        return f"cannot call {name}: a property in Slicer {version}"
    return ""


def _problem_of_signal(use: Use, cls: str, exists: bool) -> str:
    stand_in = next((each for each, name in stand_ins.registered.items() if name == cls), None)
    widget = stand_in is not None and issubclass(stand_in, QtCore.QObject)
    written = QtCore.QMetaObject.normalizedSignature(use.member).data().decode()
    if not exists or (widget and written not in class_signatures(stand_in)):
        return f"has no signal {use.member}"
    return ""


def _problem_of_qt(use: Use, name: str) -> str:
    cls = qt_class(name)
    meta = cls.staticMetaObject  # type: ignore[attr-defined]
    number = meta.indexOfProperty(use.member)
    is_property = number >= 0 and use.member not in METHODS_IN_PYTHON
    if use.how == "signal":
        written = QtCore.QMetaObject.normalizedSignature(use.member).data().decode()
        return "" if meta.indexOfSignal(written) >= 0 else f"has no signal {use.member}"
    if use.member not in qt_names(name) | stand_ins.PYTHONQT:
        return f"has no {use.member}"
    if use.how == "set" and not (is_property and meta.property(number).isWritable()):
        return f"cannot set {use.member}"
    if use.how == "call" and is_property:
        return f"cannot call {use.member}: a property"
    return ""


def test_every_use_that_can_be_followed_works_in_the_application() -> None:
    uses = find_uses(FILES, Form.read(FORM))
    assert [said for use in uses for said in problems(use)] == []


def test_nearly_everything_can_be_followed() -> None:
    form = Form.read(FORM)
    uses = find_uses(FILES, form)
    text = "".join(path.read_text(encoding="utf-8") for path in FILES)
    named = {cls for name, cls in form.widgets.items() if f"ui.{name}." in text}
    made = {name for name in ("qMRMLPlotView", "qMRMLSegmentEditorWidget") if f"slicer.{name}()" in text}
    assert len(uses) > 100 and len(named) > 5 and made
    assert {"qSlicerApplication", "qSlicerScriptedLoadableModule", *named, *made} <= {
        cls for use in uses for cls in use.classes
    }


def test_every_property_and_connection_of_the_form_exists() -> None:
    root, form = ET.parse(FORM).getroot(), Form.read(FORM)
    uses = []
    for item in root.iter("widget"):
        set_here = (found for found in item.findall("property") if found.get("stdset") != "0")
        cls = (str(item.get("class")),)
        uses += [Use(f"{FORM.name}: {item.get('name')}", cls, str(found.get("name")), "set") for found in set_here]
    for item in root.iter("connection"):
        for who, what, how in (("sender", "signal", "signal"), ("receiver", "slot", "call")):
            cls, member = (form.widgets[str(item.findtext(who))],), str(item.findtext(what))
            uses.append(Use(FORM.name, cls, member if how == "signal" else member.partition("(")[0], how))
    assert len(uses) > 100
    assert [said for use in uses for said in problems(use)] == []


WRONG = """
import slicer
class Plot:
    def __init__(self, frame):
        self._view = slicer.qMRMLPlotView()
        self._view.{use}
class Section:
    def __init__(self, session):
        self._session, self._ui = session, session.ui
        self._ui.slider.setRange(0, 1)
        self._ui.slider.connect("valueChanged(int)", print)
        self._ui.label.text()
        for widget in (self._ui.slider, self._ui.label):
            widget.enabledd = True
        table = session.ui.table
        self._fill(table)
        slicer.app.layoutManager().viewCount()
        if session:
            control = qt.QCheckBox()
            control.checked = True
        else:
            control = qt.QSpinBox()
            control.checked = True
        control.toolTip = "a"
        control.rowCount = 3
    def _fill(self, table):
        table.rowCount = 3
        table.fill(3)
"""


def test_uses_that_fail_in_the_application_are_found() -> None:
    form = Form({"slider": "ctkSliderWidget", "label": "QLabel", "table": "QTableWidget"}, "qMRMLWidget")
    found = find_uses_in({"a.py": WRONG.format(use="mrmlPlotViewNode().SetName('a')")}, form)
    said = sorted(text for use in found for text in problems(use))
    assert [text.split(" (")[0] for text in said] == sorted(
        [
            *["a.py:6: qMRMLPlotView has no mrmlPlotViewNode"] * 3,
            *["a.py:10: ctkSliderWidget has no setRange"] * 3,
            "a.py:11: ctkSliderWidget has no signal valueChanged(int)",
            "a.py:12: QLabel cannot call text: a property",
            "a.py:14: QLabel has no enabledd",
            *["a.py:14: ctkSliderWidget has no enabledd"] * 3,
            *["a.py:17: qSlicerLayoutManager has no viewCount"] * 3,
            "a.py:23: QSpinBox has no checked",
            "a.py:25: QCheckBox has no rowCount",
            "a.py:25: QSpinBox has no rowCount",
            "a.py:28: QTableWidget has no fill",
        ]
    )


@pytest.mark.parametrize("use", ["fitToContent()", "connect('dataSelected(vtkStringArray*,vtkCollection*)', print)"])
def test_uses_that_work_are_left_alone(use: str) -> None:
    found = find_uses_in({"a.py": WRONG.format(use=use)}, Form({}, "qMRMLWidget"))
    assert "qMRMLPlotView" in {cls for each in found for cls in each.classes}
    assert [said for each in found for said in problems(each) if "qMRMLPlotView" in said] == []
