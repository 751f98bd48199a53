"""The main thread during a run of the real engine on the bundled brain: no call of the module takes long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("PySide6", reason="needs PySide6 (pip install 'itermask3d[test]')")
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

from Testing.slicer_host import pythonqt
from Testing.slicer_host.scene import add_slice_view
from Testing.ui.story import load_sample

LIMIT_S = 0.1


def test_no_call_on_the_main_thread_takes_a_tenth_of_a_second(load: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    views = [add_slice_view(name) for name in ("Red", "Yellow", "Green")]
    user = load(None)
    load_sample()
    user.set("passesSpinBox", 8)
    pythonqt.calls.clear()
    user.click("applyButton")
    user.reach(4)
    # A user who looks at earlier iterations while the run goes on.
    user.click("followRunCheckBox")
    user.click("liveHeatmapCheckBox")
    user.ui.playWidget.onVcrFirst()
    user.ui.playWidget.onVcrNext()
    user.click("followRunCheckBox")
    user.wait()
    calls = list(pythonqt.calls)
    assert user.nodes.segmentation is not None and views
    slowest = sorted(calls, key=lambda call: call.own)[-5:]
    with capsys.disabled():
        print(f"\n{len(calls)} calls on the main thread; the slowest in ms, on the clock and without the wait for a processor:")
        for call in reversed(slowest):
            print(f"  {1000 * call.wall:6.1f} {1000 * call.own:6.1f}  {call.slot}")
    # Other programs of a busy machine make a call wait for a processor; that wait is not the module's.
    assert max(call.own for call in calls) < LIMIT_S
