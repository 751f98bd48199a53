"""The file that Slicer loads: what it costs at start-up, what it offers, and its logic as a script uses it."""

from __future__ import annotations

import hashlib
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

from IterMask3DLib.core.contrast import FLAIR, T1W, T2W, contrast_in
from Testing.slicer_host import NEEDS_QT, NEEDS_SLICER_CORE, clear_scene, has_qt, has_slicer_core

ROOT = Path(__file__).resolve().parents[1]
MODULE_FILE = ROOT / "IterMask3D" / "IterMask3D.py"


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
needed = {{"torch", "scipy", "SimpleITK", "nibabel", "matplotlib", "contourpy", "jinja2", "safetensors"}}
sys.exit(", ".join(needed & set(sys.modules)) or None)
"""
    paths = os.pathsep.join([str(ROOT), str(MODULE_FILE.parent)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr


def test_each_contrast_of_the_bundled_brain_is_offered_once_slicer_has_started_and_needs_no_network(
    application: Any, monkeypatch: pytest.MonkeyPatch, module: Any
) -> None:
    from Testing.slicer_host.application import finish_startup

    offered: list[dict[str, Any]] = []
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **source: offered.append(source))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    assert offered == []
    finish_startup()
    assert [sample["fileNames"] for sample in offered] == [
        f"open_ms_patient19_{c}.nii.gz" for c in ("T1", "T2", "FLAIR")
    ]
    for sample in offered:
        assert sample["uris"].startswith("file:") and Path(sample["thumbnailFileName"]).stat().st_size
        with urllib.request.urlopen(sample["uris"]) as file:
            assert f"SHA256:{hashlib.sha256(file.read()).hexdigest()}" == sample["checksums"]
    assert [contrast_in(sample["nodeNames"]) for sample in offered] == [T1W, T2W, FLAIR]


def test_a_script_can_wait_for_the_result(module: Any, tmp_path: Path) -> None:
    import slicer

    from Testing.ui.story import anomaly, phantom_node, voxel_ml

    volume = phantom_node()
    logic = module.python.IterMask3DLogic()
    nodes = logic.process(volume, request(tmp_path)).nodes
    assert nodes.segmentation.GetName() == "brain anomaly"
    array = anomaly(nodes)
    assert array.shape == slicer.util.arrayFromVolume(volume).shape and array.any()
    lesions = logic.lesions(nodes)
    assert array.sum() * voxel_ml(volume) == pytest.approx(sum(lesion.volume_ml for lesion in lesions))
    assert [path for path in logic.wait_for(logic.save, nodes, tmp_path / "out") if path.is_file()]
    logic.close()


def test_a_script_can_go_on_while_the_run_does(application: Any, module: Any, tmp_path: Path) -> None:
    from PySide6 import QtCore

    from Testing.ui.story import anomaly, phantom_node

    chosen = request(tmp_path)
    logic = module.python.IterMask3DLogic()
    items: list[int] = []
    done: list[Any] = []
    logic.start(
        phantom_node("started"),
        chosen,
        on_step=lambda item, step: items.append(item),
        on_done=done.append,
        on_error=lambda *told: done.append(told),
    )
    assert not items and not done
    # The event loop of the application, which the engine's process and the module's own timer wake.
    loop, end = QtCore.QEventLoop(), time.monotonic() + 120
    while logic.busy and time.monotonic() < end:
        loop.processEvents(QtCore.QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
    (summary,) = done
    assert items == list(range(len(summary.nodes.steps)))
    waited = logic.process(phantom_node("waited"), chosen)
    np.testing.assert_array_equal(anomaly(summary.nodes), anomaly(waited.nodes))
    logic.close()


def request(folder: Path) -> Any:
    """What a script asks for: the model of a folder, with a gamma of its own."""
    from IterMask3DLib.core.request import Request
    from Testing.brains import toy_model

    return Request(model=str(toy_model(folder / "toy")), settings={"gamma": 0.5})
