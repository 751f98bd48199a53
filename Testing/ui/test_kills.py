"""`kill -9` of the engine, of the application, and of both, at random moments of a run: none stays, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer

from Testing.serve.door import eventually, linux, marked
from Testing.ui.story import phantom_node

KILLS = int(os.environ.get("ITERMASK3D_KILLS", "2"))
"""Random moments at which each test kills."""

ROOT = Path(__file__).resolve().parents[2]
APPLICATION = """
from Testing.slicer_host.application import LoadedModule, start_application
from Testing.ui.conftest import MODULE_FILE
from Testing.ui.story import phantom_node
from Testing.ui.user import User

start_application()
user = User(LoadedModule(MODULE_FILE))
user.until(lambda: user.logic.description is not None, "the list of models")
user.choose_model("toy")
user.choose("sweep_passes", 1000)
phantom_node()
user.click("applyButton")
print("begun", flush=True)
user.wait()
"""
"""An application of its own, in mid-run."""


def everything() -> list[str]:
    """The class of every node of the scene."""
    return sorted(node.GetClassName() for node in slicer.util.getNodesByClass("vtkMRMLNode"))


@linux
def test_the_engine_at_random_moments(
    load: Callable[..., Any], processes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = f"killed-under-the-panel-{os.getpid()}"
    monkeypatch.setenv("ITERMASK3D_MARK", mark)
    user = load()
    user.choose_model("toy")
    volume = phantom_node()
    # Known to /proc is the environment that this process was started with, not what it has set since.
    engines = lambda: [pid for pid in marked(mark) if pid != os.getpid()]  # noqa: E731
    user.segment()
    nodes = everything()
    for moment in np.random.default_rng(9).uniform(0, 2, KILLS):
        user.choose("sweep_passes", 1000)
        user.click("applyButton")
        end = time.monotonic() + moment
        user.until(lambda end=end: time.monotonic() > end, "the moment")
        for engine in engines():
            os.kill(engine, signal.SIGKILL)
        user.wait()
        assert "it was killed" in user.status and eventually(lambda: not engines())
        assert volume.GetImageData() is not None and user.nodes is not None
        user.choose("sweep_passes", 12)
        user.segment()
        assert everything() == nodes
    user.leave()
    assert eventually(lambda: not engines())


@linux
@pytest.mark.parametrize("both", [False, True], ids=["the application", "both"])
def test_the_application_at_random_moments(processes: Path, both: bool, tmp_path: Path) -> None:
    mark = f"killed-application-{os.getpid()}-{both}"
    paths = os.pathsep.join((str(ROOT), str(ROOT / "IterMask3D"), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "PYTHONPATH": paths, "ITERMASK3D_MARK": mark, "TMPDIR": str(tmp_path)}
    for moment in np.random.default_rng(10).uniform(0, 2, KILLS):
        arguments = [sys.executable, "-c", APPLICATION]
        with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, cwd=tmp_path) as application:
            assert application.stdout and application.stdout.readline() == b"begun\n"
            time.sleep(moment)
            found = marked(mark)
            assert application.pid in found and len(found) > 1
            for process in found if both else [application.pid]:
                os.kill(process, signal.SIGKILL)
        assert eventually(lambda: not marked(mark), 10), marked(mark)
    # What was held open by a process that is gone would still be found, locked, by the next one.
    models = processes / "itermask3d" / "models" / "toy"
    assert sorted(path.name for path in models.iterdir()) == ["card.json", "model.safetensors"]
