"""The file that Slicer loads: what it costs at start-up, what it offers, and its logic as a script uses it, without the panel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from Testing.slicer_host import NEEDS_QT, NEEDS_SLICER_CORE, clear_scene, has_qt, has_slicer_core

ROOT = Path(__file__).resolve().parents[1]
MODULE_FILE = ROOT / "IterMask3D" / "IterMask3D.py"
BRAIN = ROOT / "IterMask3D" / "Resources" / "SampleData" / "open_ms_patient19_T1.nii.gz"


@pytest.fixture(autouse=True)
def application() -> Iterator[Any]:
    if not has_slicer_core():
        pytest.skip(NEEDS_SLICER_CORE)
    if not has_qt():
        pytest.skip(NEEDS_QT)
    from Testing.slicer_host.application import start_application

    application = start_application()
    clear_scene()
    yield application
    clear_scene()


@pytest.fixture
def module() -> Any:
    from Testing.slicer_host.application import LoadedModule

    return LoadedModule(MODULE_FILE)


def test_slicer_starts_without_the_packages_that_only_a_run_needs() -> None:
    code = f"""
import sys
from pathlib import Path
from Testing.slicer_host.application import LoadedModule, start_application
start_application()
LoadedModule(Path({str(MODULE_FILE)!r}))
sys.exit(", ".join({{"torch", "scipy", "SimpleITK", "nibabel", "matplotlib", "jinja2", "safetensors"}} & set(sys.modules)) or None)
"""
    paths = os.pathsep.join([str(ROOT), str(MODULE_FILE.parent)])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths}
    )
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr


def test_the_bundled_brain_is_offered_once_slicer_has_started_and_needs_no_network(
    application: Any, monkeypatch: pytest.MonkeyPatch, module: Any
) -> None:
    from Testing.slicer_host.application import finish_startup

    offered: list[dict[str, Any]] = []
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **source: offered.append(source))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    assert offered == []
    finish_startup()
    (sample,) = offered
    assert sample["uris"].startswith("file:")
    with urllib.request.urlopen(sample["uris"]) as file:
        assert file.read() == BRAIN.read_bytes()


def test_a_script_can_wait_for_the_result(module: Any, tmp_path: Path) -> None:
    import slicer

    from Testing.brains import toy_model
    from Testing.scene.samples import anomalyOf, phantomNode

    volume = phantomNode()
    logic = module.python.IterMask3DLogic()
    summary = logic.process(volume, options(toy_model(tmp_path / "toy")))
    nodes = summary.nodes
    assert summary.anomalyMl > 0 and nodes.segmentation.GetName() == "brain anomaly"
    array = slicer.util.arrayFromSegmentBinaryLabelmap(nodes.segmentation, nodes.segmentId, volume)
    assert array.shape == slicer.util.arrayFromVolume(volume).shape and array.any()
    assert [path.name for path in logic.save(nodes, tmp_path / "out")]
    assert anomalyOf(nodes).sum() * 0.064 == pytest.approx(sum(lesion.volumeMl for lesion in logic.lesions(nodes)))
    logic.close()


def test_a_script_can_go_on_while_the_run_does(application: Any, module: Any, tmp_path: Path) -> None:
    from PySide6 import QtCore

    from Testing.brains import toy_model
    from Testing.scene.samples import anomalyOf, phantomNode

    chosen = options(toy_model(tmp_path / "toy"))
    logic = module.python.IterMask3DLogic()
    steps: list[Any] = []
    done: list[Any] = []
    logic.start(phantomNode("started"), chosen, onStep=steps.append, onDone=done.append, onError=lambda *told: done.append(told))
    assert not steps and not done
    # The event loop of the application, which the module's own timer wakes.
    loop, end = QtCore.QEventLoop(), time.monotonic() + 60
    while logic.busy and time.monotonic() < end:
        loop.processEvents(QtCore.QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
    (summary,) = done
    assert [step.item for step in steps] == list(range(len(summary.nodes.steps)))
    waited = logic.process(phantomNode("waited"), chosen)
    np.testing.assert_array_equal(anomalyOf(summary.nodes), anomalyOf(waited.nodes))
    logic.close()


def options(model: Path) -> Any:
    from IterMask3DLib.scene.records import RunOptions

    return RunOptions(model=str(model), gamma=0.5)
