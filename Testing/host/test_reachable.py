"""The host is as strict as the application: nothing more than PythonQt shows in Slicer 5.10, in 5.12 and on main."""

from __future__ import annotations

from typing import Any

import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer
from PySide6 import QtCore, QtWidgets

import Testing.slicer_host.application  # noqa: F401  (imports every stand-in)
from Testing.host.strictness import SLICER_CLASS, excess, host_classes, reached, unclaimed
from Testing.slicer_host import stand_ins
from Testing.slicer_host.modules import LoadedModule
from Testing.slicer_host.plot_view import qMRMLPlotView
from Testing.slicer_host.properties import stand_in
from Testing.slicer_host.reachable import VERSIONS, members, qt_names

STAND_INS = sorted(stand_ins.registered, key=lambda cls: cls.__name__)
WIDGETS = [cls for cls in STAND_INS if issubclass(cls, QtWidgets.QWidget) and cls.__name__.startswith(("ctk", "qMRML"))]


def known(cls: type) -> Any:
    found = stand_ins.role(cls)
    assert found is not None
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cls", STAND_INS, ids=lambda cls: cls.__name__)
def test_a_stand_in_defines_nothing_that_slicer_does_not_show(cls: type, version: str) -> None:
    assert excess(cls, version) == []


def test_every_class_of_the_host_that_looks_like_slicers_is_held_to_a_table(host: Any) -> None:
    assert unclaimed(host_classes()) == []
    import ctk

    offered = [value for module in (slicer, ctk) for value in vars(module).values() if isinstance(value, type)]
    named = [cls for cls in offered if SLICER_CLASS.fullmatch(cls.__name__)]
    assert len(named) > 15 and [cls for cls in named if cls not in stand_ins.registered] == []


@pytest.mark.parametrize("cls", WIDGETS, ids=lambda cls: cls.__name__)
def test_python_reaches_nothing_else_of_a_widget(host: Any, cls: type) -> None:
    real = known(cls)
    assert reached(cls()) - stand_ins.PYTHONQT <= real.names | qt_names(real.qt_base)


@pytest.mark.parametrize("cls", WIDGETS, ids=lambda cls: cls.__name__)
def test_a_cpp_method_is_no_attribute_of_a_widget(host: Any, cls: type) -> None:
    widget, real = cls(), known(cls)
    for name in real.cpp_only - qt_names(real.qt_base):
        with pytest.raises(AttributeError, match=rf"'{name}': in Slicer it is a C\+\+ method"):
            getattr(widget, name)


def test_python_reaches_nothing_else_of_the_application(host: Any) -> None:
    for thing in (host, host.coreIOManager(), host.moduleManager(), slicer.modules.volumes):
        real = known(type(thing))
        assert reached(thing) - stand_ins.PYTHONQT <= real.names | qt_names(real.qt_base)


def test_what_no_version_has_cannot_be_read_written_or_called(host: Any) -> None:
    with pytest.raises(AttributeError, match=r"C\+\+ method"):
        slicer.qMRMLPlotView().mrmlPlotViewNode()
    with pytest.raises(AttributeError, match=r"in Slicer 5\.10, 5\.12, main"):
        slicer.qMRMLNodeComboBox().chooseAtRandom  # noqa: B018
    with pytest.raises(AttributeError):
        slicer.qMRMLWidget().toolTipp = "a"
    with pytest.raises(AttributeError, match="no property"):
        host.layoutManagr = None
    with pytest.raises(AttributeError, match="mainWindow"):
        host.mainWindow()


def test_what_only_some_versions_have_is_refused_with_their_names(host: Any) -> None:
    with pytest.raises(AttributeError, match=r"nodeAddedByUserAction' in Slicer 5\.10$"):
        slicer.qMRMLNodeComboBox().nodeAddedByUserAction  # noqa: B018


def test_what_slicer_has_and_the_stand_in_lacks_is_called_so(host: Any) -> None:
    with pytest.raises(AttributeError, match="its stand-in does not"):
        slicer.qMRMLPlotView().saveAsSVG("curve")


class Generous(qMRMLPlotView):  # type: ignore[misc, valid-type]
    """Offers what the real plot view keeps for C++, as the host once did."""

    def mrmlPlotViewNode(self) -> Any:
        return self._node

    def fitToContents(self) -> None:
        """A name that is nearly right."""

    @property
    def chart(self) -> Any:
        return None


def test_a_stand_in_that_offers_too_much_is_found() -> None:
    assert excess(Generous, "5.10") == [
        "qMRMLPlotView.mrmlPlotViewNode: a C++ method only",
        "qMRMLPlotView.fitToContents: not there",
        "qMRMLPlotView.chart: none of its properties",
    ]


def test_a_stand_in_with_too_rich_a_base_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_ins, "registered", dict(stand_ins.registered))
    cls = stand_in(type("ctkDirectoryButton", (QtWidgets.QPushButton,), {}))
    assert excess(cls, "main") == ["ctkDirectoryButton is a QWidget, not a QPushButton"]


def test_a_class_that_no_table_holds_is_found() -> None:
    classes = [type("qMRMLInvented", (), {}), type("Helper", (QtCore.QObject,), {}), LoadedModule]
    assert unclaimed(classes) == ["qMRMLInvented", "Helper"]


def test_the_tables_hold_the_same_classes_in_every_version() -> None:
    for cls in STAND_INS:
        name = known(cls).name
        assert all(members(name, version).names for version in VERSIONS), name
