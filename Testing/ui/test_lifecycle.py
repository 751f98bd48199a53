"""The panel's life: opened, hidden, the scene closed under it, the module reloaded, the application without windows."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer

from Testing.scene.fake_engine import FakeEngine
from Testing.scene.samples import phantomNode
from Testing.slicer_host import pythonqt
from Testing.ui.story import SAMPLE
from Testing.ui.user import GatedEngine


def test_there_is_neither_a_window_nor_a_layout_here(user: Any) -> None:
    assert slicer.util.mainWindow() is None and slicer.app.layoutManager() is None
    phantomNode()
    user.segment()
    user.set("pointSlider", 2)
    user.click("compareButton")
    assert "no slice views" in user.status and not user.ui.compareButton.checked


def test_slicer_is_told_what_the_module_is(user: Any) -> None:
    parent = user.module.parent
    assert (parent.title, parent.categories) == ("IterMask3D", ["Segmentation"])
    assert "not a medical device" in parent.helpText
    assert "103763" in parent.acknowledgementText
    assert not parent.icon.isNull()


def test_the_bundled_brain_is_offered_once_slicer_has_started(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[dict[str, Any]] = []
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **source: offered.append(source))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    slicer.app.atStartup[-1]()
    assert offered[0]["uris"] == SAMPLE.as_uri() and offered[0]["category"] == "IterMask3D"


def test_closing_the_scene_ends_the_run(load: Callable[..., Any]) -> None:
    user = load(GatedEngine())
    phantomNode()
    user.click("applyButton")
    user.reach(1)
    slicer.mrmlScene.Clear(0)
    user.wait()
    assert user.nodes is None and not user.can("applyButton")
    phantomNode()
    user.segment()
    assert user.nodes is not None


def test_a_run_goes_on_while_another_module_is_shown(load: Callable[..., Any]) -> None:
    user = load(GatedEngine())
    phantomNode()
    user.click("applyButton")
    user.module.exit()
    user.letGo()
    user.wait()
    user.module.enter()
    assert user.nodes.segmentation is not None


def test_removing_the_volume_ends_the_run_with_a_word(load: Callable[..., Any]) -> None:
    user = load(GatedEngine())
    volume = phantomNode()
    user.click("applyButton")
    user.reach(1)
    slicer.mrmlScene.RemoveNode(volume)
    user.wait()
    assert "removed" in user.status


def test_a_reloaded_module_works_with_new_code(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    user = load(FakeEngine())
    for name in [name for name in sys.modules if name.split(".")[0] in ("IterMask3D", "IterMask3DLib")]:
        # The other tests go on with the code they imported.
        monkeypatch.setitem(sys.modules, name, sys.modules[name])
    phantomNode()
    user.segment()
    old = sys.modules["IterMask3DLib.ui.panel"]
    user.widget.onReload()
    assert sys.modules["IterMask3DLib.ui.panel"] is not old
    assert slicer.modules.IterMask3DWidget is not user.widget
    user.widget = slicer.modules.IterMask3DWidget
    assert user.nodes is not None and user.nodes.segmentation is not None
    user.ui.seekWidget.setSelectedItemNumber(1)
    assert user.ui.passLabel.text == "2"


def test_the_panel_that_goes_leaves_no_thread_and_no_timer(load: Callable[..., Any]) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    user = load(GatedEngine())
    phantomNode()
    user.click("applyButton")
    user.reach(1)
    user.leave()
    assert {thread.ident for thread in threading.enumerate()} == before
    assert not any(timer.active for timer in pythonqt.timers)


def test_missing_packages_are_explained_and_nothing_is_installed_unasked(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import IterMask3DLib.ui.install_section as section
    from IterMask3DLib.scene.logic import SceneLogic

    installed: list[Any] = []
    lacking = ["torch", "nibabel"]
    monkeypatch.setattr(SceneLogic, "missingPackages", lambda self: list(lacking))
    monkeypatch.setattr(section, "install", lambda missing, file, say: installed.append(missing))
    user = load(FakeEngine())
    phantomNode()
    assert "torch, nibabel" in user.ui.installLabel.text and not user.can("applyButton")
    assert "Install" in user.ui.applyButton.toolTip and installed == []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: False)
    user.click("installButton")
    assert installed == []
    asked: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: asked.append(text) or True)
    lacking.clear()
    user.click("installButton")
    assert "torch>=2.2" in asked[0] and "nibabel>=5.1" in asked[0] and installed == [["torch", "nibabel"]]
    assert user.can("applyButton") and user.ui.installFrame.isHidden()


def test_the_reason_of_a_failed_installation_is_shown(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import IterMask3DLib.ui.install_section as section
    from IterMask3DLib.scene.logic import SceneLogic

    def fail(*_: Any) -> None:
        raise section.InstallError("PyTorch could not be installed: no space left")

    monkeypatch.setattr(SceneLogic, "missingPackages", lambda self: ["torch"])
    monkeypatch.setattr(section, "install", fail)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: True)
    user = load(FakeEngine())
    user.click("installButton")
    assert "no space left" in user.status and user.can("installButton")
