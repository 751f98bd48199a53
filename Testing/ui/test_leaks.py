"""What a run leaves behind when it is cancelled: its results, and nothing else."""

from __future__ import annotations

import gc
import random
import threading
from collections import Counter
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer

from Testing.scene.fake_engine import FakeEngine
from Testing.scene.samples import phantomNode
from Testing.slicer_host import pythonqt
from Testing.ui.user import User

RUNS = 100


def classes_in_the_scene() -> Counter[str]:
    nodes = [slicer.mrmlScene.GetNthNode(index) for index in range(slicer.mrmlScene.GetNumberOfNodes())]
    return Counter(node.GetClassName() for node in nodes)


def observers() -> tuple[int, int]:
    """What the module's classes have under observation, and its local functions that something still holds, VTK among others.

    VTK's Python wheels do not tell who observes an object.
    """
    everything = gc.get_objects()
    mixins = [each for each in everything if issubclass(type(each), slicer.util.VTKObservationMixin)]
    functions = [each for each in everything if type(each) is FunctionType and "<locals>" in each.__qualname__]
    held = sum((each.__module__ or "").startswith("IterMask3DLib") for each in functions)
    return sum(len(list(each.Observations)) for each in mixins), held


def state() -> dict[str, Any]:
    gc.collect()
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "timers": len(pythonqt.timers),
        "running timers": sum(timer.active for timer in pythonqt.timers),
        "connections": pythonqt.live_connections(),
        "nodes": classes_in_the_scene(),
        "observers": observers(),
    }


def run(user: User, rounds: int | None) -> int:
    """Segments, and cancels after so many rounds of the event loop (None: never). Returns how many rounds the run took until then."""
    user.click("applyButton")
    turned = 0

    def reached() -> bool:
        nonlocal turned
        turned += 1
        return not user.logic.busy or turned == rounds

    user.until(reached, "the point to cancel at")
    if user.logic.busy:
        user.click("applyButton")
    user.wait()
    return turned


def test_a_hundred_runs_cancelled_anywhere_leave_nothing_behind(load: Callable[..., Any]) -> None:
    draw = random.Random(3)
    before_the_panel = state()
    user = load(FakeEngine())
    user.fewPasses()
    phantomNode()
    run(user, None)
    whole = min(run(user, None), run(user, None))
    known = state()
    ends: Counter[str] = Counter()
    for _ in range(RUNS):
        run(user, draw.randint(1, whole))
        ends[user.status.split(";")[0].split(":")[0]] += 1
    assert set(ends) == {"Cancelled before the first pass", "Cancelled", "Anomaly"} and ends["Anomaly"] < RUNS / 2, ends
    assert not user.logic.busy
    run(user, None)
    assert state() == known
    user.leave()
    slicer.mrmlScene.Clear(0)
    after = state()
    for what in ("threads", "running timers", "connections"):
        assert after[what] == before_the_panel[what], what
