"""Reading a case: the dial of a method, the keys, and the way of the anomaly into the archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer
import torch
from PySide6 import QtCore, QtTest, QtWidgets

from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.models.store import save_model
from Testing.brains import toy_card
from Testing.scene.engine import TestEngine
from Testing.ui.conftest import command_with
from Testing.ui.story import anomaly, draw, phantom_node
from Testing.ui.user import User

EXPORTER = """
from pathlib import Path
from types import SimpleNamespace

asked = []


class DICOMSegmentationPluginClass:
    def examineForExport(self, item):
        return [SimpleNamespace(item=item, directory="")]

    def export(self, series):
        asked.extend(series)
        for one in series:
            Path(one.directory, "anomaly.dcm").write_bytes(b"SEG")
        return ""
"""
"""Slicer's exporter as the panel sees it, in a few lines."""


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestEngine]:
    """An engine whose model `scored` has a dial."""
    data = tmp_path_factory.mktemp("scored")
    settings = {
        "inference": "whole_brain",
        "side": "bright",
        "noises": 1,
        "flips": False,
        "other_side": False,
        "smallest_voxels": 1,
    }
    card = replace(toy_card("scored"), settings={**settings, "thresholds": (5.0, 3.0, 2.0, 1.0, 0.5)})
    torch.manual_seed(0)
    network = UNet3D((2,) * 5).eval().state_dict()
    save_model(data / "itermask3d" / "models" / "scored", card, {"reconstruction": network})
    engine = TestEngine(**command_with(data).environment)
    yield engine
    engine.close()


@pytest.fixture
def done(user: User) -> User:
    """A user in front of a finished result with three lesions."""
    phantom_node()
    user.segment()
    mask = np.zeros_like(anomaly(user.nodes))
    for at, size in ((6, 6), (18, 4), (30, 2)):
        mask[at : at + size, 20 : 20 + size, 20 : 20 + size] = 1
    draw(user.nodes, mask)
    user.click("measureButton")
    return user


def test_the_dial_of_a_method_changes_the_result_without_a_pass(load: Callable[..., Any], scored: TestEngine) -> None:
    user: User = load(scored.open)
    phantom_node()
    user.choose_model("scored")
    assert user.sees("usualSettingsFrame") and user.panel.advanced.method.control("gamma") is None
    user.segment()
    sizes, passes = [int(anomaly(user.nodes).sum())], len(user.nodes.steps)
    for sensitivity in (1, 2, -2):
        user.choose("sensitivity", sensitivity)
        user.wait()
        sizes.append(int(anomaly(user.nodes).sum()))
        assert user.nodes.request.settings == {"sensitivity": sensitivity} and len(user.nodes.steps) == passes
    assert sizes[3] < sizes[0] < sizes[1] < sizes[2], sizes
    user.click("freeMemoryButton")
    user.wait()
    user.choose("sensitivity", 0)
    assert "Press Segment" in user.status and int(anomaly(user.nodes).sum()) == sizes[3]


def test_the_dial_asks_before_it_replaces_what_a_person_drew(load: Callable[..., Any], scored: TestEngine) -> None:
    user: User = load(scored.open)
    asked: list[str] = []
    user.session._ask = lambda question: bool(asked.append(question)) or len(asked) == 1
    phantom_node()
    user.choose_model("scored")
    user.segment()
    mask = 1 - anomaly(user.nodes)
    draw(user.nodes, mask)
    drawn = user.nodes.segmentation
    user.choose("sensitivity", 2)
    user.wait()
    assert len(asked) == 1 and user.nodes.segmentation is not drawn


def test_keys_go_from_lesion_to_lesion_and_accept_and_reject(
    load_toy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    window = QtWidgets.QMainWindow()
    monkeypatch.setattr(slicer.util, "mainWindow", lambda verbose=True: window)
    window.show()
    window.activateWindow()
    user = load_toy()
    phantom_node()
    user.segment()
    mask = np.zeros_like(anomaly(user.nodes))
    for at, size in ((6, 6), (18, 4), (30, 2)):
        mask[at : at + size, 20 : 20 + size, 20 : 20 + size] = 1
    draw(user.nodes, mask)
    user.click("measureButton")

    def press(key: str) -> list[int]:
        QtTest.QTest.keyClick(window, getattr(QtCore.Qt.Key, f"Key_{key}"))
        return sorted({index.row() for index in user.ui.lesionsTable.selectionModel().selectedRows()})

    assert [press(key) for key in "NNPNNN"] == [[0], [1], [0], [1], [2], [2]]
    assert press("A") == [2] and user.logic.accepted_lesions(user.nodes) == {3}
    assert press("P") == [1]
    assert press("X") == [1] and user.ui.lesionsTable.rowCount == 2
    shown = user.ui.showHeatmapCheckBox.checked
    press("H")
    assert user.ui.showHeatmapCheckBox.checked is not shown
    user.module.exit()
    press("X")
    assert user.ui.lesionsTable.rowCount == 2, "the keys belong to the module that is shown"
    user.module.enter()


def test_the_anomaly_of_a_volume_from_the_database_is_exported_with_one_click(
    done: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not done.sees("dicomButton")
    (tmp_path / "DICOMSegmentationPlugin.py").write_text(EXPORTER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    done.nodes.input.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    done.session.refresh()
    done.ui.saveDirectoryButton.directory = str(tmp_path / "archive")
    done.click("dicomButton")
    import DICOMSegmentationPlugin

    (series,) = DICOMSegmentationPlugin.asked
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    assert hierarchy.GetItemDataNode(series.item) is done.nodes.segmentation
    assert str(tmp_path / "archive" / "anomaly.dcm") in done.status and "Problem" not in done.status
    monkeypatch.setattr(DICOMSegmentationPlugin.DICOMSegmentationPluginClass, "export", lambda self, s: "No disk.")
    done.click("dicomButton")
    assert "Problem" in done.status and "No disk" in done.status
