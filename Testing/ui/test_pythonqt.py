"""The stand-in for PythonQt refuses what PythonQt refuses; else the panel's tests would pass where the panel fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FORM = """<ui version="4.0"><class>F</class><widget class="qMRMLWidget" name="F"><layout class="QVBoxLayout" name="l">
<item><widget class="{cls}" name="w"><property name="{property}"><bool>true</bool></property></widget></item>
</layout></widget>
<customwidgets>{declared}
<customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>h</header></customwidget></customwidgets>
<connections><connection>
<sender>F</sender><signal>{signal}</signal><receiver>w</receiver><slot>{slot}</slot>
</connection></connections></ui>"""
DECLARED = "<customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends><header>h</header></customwidget>"


@pytest.fixture
def qt(host: Any) -> Any:
    import qt

    return qt


def test_properties_are_attributes_and_not_methods(qt: Any) -> None:
    label = qt.QLabel("a")
    label.text = "b"
    assert label.text == "b"
    with pytest.raises(TypeError):
        label.text()


@pytest.mark.parametrize("name", ["txet", "is_enabled", "_private"])
def test_no_attribute_is_created_on_a_widget(qt: Any, name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        setattr(qt.QLabel(), name, 1)


def test_a_method_cannot_be_overwritten(qt: Any) -> None:
    with pytest.raises(AttributeError, match="cannot be set"):
        qt.QLabel().setText = print


def test_a_property_that_qt_only_reads_cannot_be_set(qt: Any) -> None:
    with pytest.raises(AttributeError):
        qt.QWidget().width = 3


def test_a_function_of_a_class_may_share_the_name_of_a_property(qt: Any) -> None:
    from Testing.slicer_host.event_loop import process_events

    heard: list[str] = []
    qt.QTimer.singleShot(0, lambda: heard.append("now"))
    while not heard:
        process_events(wait=True)
    timer = qt.QTimer()
    timer.singleShot = True
    assert timer.singleShot is True


def test_constructors_take_no_keyword_arguments(qt: Any) -> None:
    with pytest.raises(TypeError, match="wordWrap"):
        qt.QLabel("a", wordWrap=True)


def test_what_only_pyside_has_is_not_there(qt: Any) -> None:
    assert not {"Signal", "Slot", "Property"} & set(dir(qt))
    with pytest.raises(AttributeError):
        qt.QPushButton().clicked.emit()


def test_a_signal_that_does_not_exist_cannot_be_connected(qt: Any) -> None:
    with pytest.raises(ValueError, match="clickd"):
        qt.QPushButton().connect("clickd()", print)
    with pytest.raises(ValueError, match="int"):
        qt.QPushButton().connect("clicked(int)", print)


def test_slots_get_as_many_arguments_as_they_take(qt: Any) -> None:
    heard: list[Any] = []
    button = qt.QPushButton()
    button.connect("clicked(bool)", lambda: heard.append("none"))
    button.connect("clicked(bool)", lambda checked: heard.append(checked))
    button.clicked.connect(lambda *given: heard.append(given))
    button.click()
    assert heard == ["none", False, (False,)]


def test_a_disconnected_slot_hears_nothing_more(qt: Any) -> None:
    heard: list[bool] = []
    button = qt.QPushButton()
    button.connect("clicked(bool)", heard.append)
    assert button.disconnect("clicked(bool)", heard.append)
    button.click()
    assert heard == [] and not button.disconnect("clicked(bool)", heard.append)


def test_an_exception_in_a_slot_is_noted(qt: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from Testing.slicer_host import pythonqt

    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert len(pythonqt.errors) == 1 and "ZeroDivisionError" in pythonqt.errors.pop()


def test_an_exception_in_an_observer_is_noted(host: Any, capfd: pytest.CaptureFixture[str]) -> None:
    import slicer

    from Testing.slicer_host import pythonqt

    node = slicer.vtkMRMLScalarVolumeNode()
    node.AddObserver("ModifiedEvent", lambda caller, event: 1 / 0)
    node.Modified()
    assert pythonqt.errors and "ZeroDivisionError" in pythonqt.errors[0]
    pythonqt.errors.clear()


def test_a_message_box_that_would_hang_is_refused(qt: Any) -> None:
    with pytest.raises(RuntimeError, match="hangs"):
        qt.QMessageBox().exec_()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cls": "qMRMLNodeCombo", "declared": DECLARED.replace("ComboBox", "Combo")}, "no stand-in"),
        ({"declared": ""}, "does not declare"),
        ({"signal": "mrmlSceneChanged()"}, "no signal"),
        ({"slot": "setNoneEnabled(bool)"}, "setNoneEnabled"),
        ({"property": "noneEnabeld"}, "no property noneEnabeld"),
        ({}, ""),
    ],
)
def test_a_form_that_slicer_would_not_load_is_refused(
    host: Any, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    import slicer

    right = {
        "cls": "qMRMLNodeComboBox",
        "property": "noneEnabled",
        "declared": DECLARED,
        "signal": "mrmlSceneChanged(vtkMRMLScene*)",
        "slot": "setMRMLScene(vtkMRMLScene*)",
    }
    form = tmp_path / "form.ui"
    form.write_text(FORM.format(**{**right, **change}), encoding="utf-8")
    if said:
        with pytest.raises(RuntimeError, match=said):
            slicer.util.loadUI(str(form))
    else:
        assert slicer.util.loadUI(str(form)).objectName == "F"


@pytest.fixture
def wrapped(host: Any) -> Callable[..., Any]:
    """Makes a parameter node of a class with the given annotations."""
    import slicer
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    def wrap(**members: Any) -> Any:
        cls = parameterNodeWrapper(type("Wrapped", (), {"__annotations__": members, "__module__": __name__}))
        return cls(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))

    return wrap


def test_parameters_survive_in_the_node_and_refuse_what_is_out_of_range(wrapped: Callable[..., Any]) -> None:
    from typing import Annotated

    from slicer.parameterNodeWrapper import WithinRange

    parameters = wrapped(gamma=Annotated[float, WithinRange(0.0, 0.5)], on=bool)
    parameters.gamma, parameters.on = 0.25, True
    assert (parameters.gamma, parameters.on) == (0.25, True)
    assert parameters.parameterNode.GetParameter("gamma") == "0.25"
    with pytest.raises(ValueError):
        parameters.gamma = 0.6


def test_a_widget_of_the_wrong_kind_cannot_show_a_parameter(wrapped: Callable[..., Any], qt: Any) -> None:
    label = qt.QSlider()
    label.setProperty("SlicerParameterName", "name")
    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        wrapped(name=str).connectGui(SimpleNamespace(label=label))


def test_a_parameter_nobody_declared_cannot_be_shown(wrapped: Callable[..., Any], qt: Any) -> None:
    edit = qt.QLineEdit()
    edit.setProperty("SlicerParameterName", "nmae")
    with pytest.raises(ValueError, match="nmae"):
        wrapped(name=str).connectGui(SimpleNamespace(edit=edit))
