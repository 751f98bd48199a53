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

from Testing.slicer_host import pythonqt
from Testing.ui.story import phantom_node
from Testing.ui.user import User

RUNS = 40


def classes_in_the_scene() -> Counter[str]:
    nodes = [slicer.mrmlScene.GetNthNode(index) for index in range(slicer.mrmlScene.GetNumberOfNodes())]
    return Counter(node.GetClassName() for node in nodes)


def observers() -> tuple[int, int]:
    """What the module's classes have under observation, and its local functions that something (VTK too) still holds.

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


def run(user: User, moment: tuple[str, int] | None) -> None:
    """Segments, and cancels once there were so many events (progress, steps) of the run; None: never."""
    count, heard = 0, user.session.run_callbacks

    def counted(name: str) -> Callable[..., None]:
        def hear(*given: Any) -> None:
            nonlocal count
            count += 1
            heard[name](*given)

        return hear

    if moment is not None:
        user.session.run_callbacks = {**heard, moment[0]: counted(moment[0])}
    user.click("applyButton")
    if moment is not None:
        user.until(lambda: not user.logic.busy or count >= moment[1], "the point to cancel at")
        user.session.run_callbacks = heard
        if user.logic.busy:
            user.click("applyButton")
    user.wait()


def test_runs_cancelled_anywhere_leave_nothing_behind(load_toy: Callable[..., Any]) -> None:
    draw = random.Random(3)
    before_the_panel = state()
    user = load_toy()
    phantom_node()
    run(user, None)
    # How far a run comes while the application does something else makes the second result differ from the first.
    run(user, None)
    known = state()
    passes = len(user.nodes.steps)
    ends: Counter[str] = Counter()
    for turn in range(RUNS):
        moment = ("on_progress", 0) if turn % 5 == 0 else ("on_step", draw.randint(1, passes))
        run(user, moment)
        ends[user.status.split(";")[0].split(":")[0]] += 1
    assert len(ends) > 1, ends
    assert not user.logic.busy
    run(user, None)
    assert state() == known
    user.leave()
    slicer.mrmlScene.Clear(0)
    after = state()
    for what in ("threads", "running timers", "connections"):
        assert after[what] == before_the_panel[what], what
