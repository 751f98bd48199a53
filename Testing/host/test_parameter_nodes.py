"""A connected parameter node wrapper must not be dropped with its observer: Slicer 5.10 crashes at the next change."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer

from Testing.slicer_host import pythonqt
from Testing.slicer_host.application import REAL_LAYER

pytestmark = pytest.mark.skipif(REAL_LAYER, reason="the real wrapper of Slicer 5.10 would end the tests")


@pytest.fixture
def node(host: Any) -> Any:
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")


def wrap(node: Any, observers: list[int] | None = None) -> Any:
    """A wrapper with one text, connected to one line; `observers` is filled with those that connecting made."""
    import qt
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    cls = parameterNodeWrapper(type("Wrapped", (), {"__annotations__": {"title": str}, "__module__": __name__}))
    edit = qt.QLineEdit()
    edit.setProperty("SlicerParameterName", "title")
    wrapper, ui = cls(node), SimpleNamespace(edit=edit)
    observe = wrapper.AddObserver
    if observers is not None:
        wrapper.AddObserver = lambda *given: observers.append(observe(*given))
    wrapper.ui, wrapper.tag = ui, wrapper.connectGui(ui)
    if observers is not None:
        del wrapper.AddObserver
    return wrapper


def test_a_wrapper_that_is_kept_follows_the_node(node: Any) -> None:
    wrapper = wrap(node)
    node.SetParameter("title", "a")
    assert wrapper.ui.edit.text == "a"
    wrapper.ui.edit.text = "b"
    assert wrapper.title == "b"


def test_a_wrapper_that_is_kept_may_be_disconnected(node: Any) -> None:
    wrapper = wrap(node)
    wrapper.disconnectGui(wrapper.tag)
    node.SetParameter("title", "a")
    assert wrapper.ui.edit.text == "" and wrapper.title == "a"


def test_a_change_after_the_wrapper_was_collected_is_an_error(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    wrapper = wrap(node)
    wrapper.disconnectGui(wrapper.tag)
    del wrapper
    gc.collect()
    assert not pythonqt.errors
    node.Modified()
    node.Modified()
    assert len(pythonqt.errors) == 1 and "collected; Slicer 5.10 would crash" in pythonqt.errors.pop()


def test_whoever_takes_the_observer_away_may_drop_the_wrapper(node: Any) -> None:
    wrapper = wrap(node, observers := [])
    wrapper.disconnectGui(wrapper.tag)
    assert len(observers) == 1
    wrapper.RemoveObserver(observers[0])
    del wrapper
    gc.collect()
    node.Modified()
