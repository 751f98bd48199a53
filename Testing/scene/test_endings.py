"""However a run ends, nothing of it goes on: no thread, timer, observer or orphan node."""

from __future__ import annotations

import gc
import random
import threading
from collections import Counter
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest
import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.records import RunState
from Testing.scene.fake_engine import Clicker, FakeEngine, pump
from Testing.scene.samples import phantom_node

RUNS = 100
PASSES = 17


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "IterMask3D"]


def nodes_by_class() -> Counter[str]:
    return Counter(
        slicer.mrmlScene.GetNthNode(index).GetClassName() for index in range(slicer.mrmlScene.GetNumberOfNodes())
    )


def observers() -> int:
    """Functions of the module that something still holds: what VTK is to call lives as long as it is observed."""
    gc.collect()
    functions = (each for each in gc.get_objects() if type(each) is FunctionType and "<locals>" in each.__qualname__)
    return sum((each.__module__ or "").startswith("IterMask3DLib.scene") for each in functions)


def running(logic: Any, engine: FakeEngine, passes: int) -> Any:
    """A run that has done so many passes and waits for leave to do the next."""
    node = phantom_node()
    logic.start(node)
    engine.allow(passes)
    pump(logic, lambda: (nodes := ResultNodes.find(node)) is not None and len(nodes.steps) == passes)
    return node


def test_a_hundred_runs_cancelled_anywhere_leave_nothing_behind(make_logic: Callable[..., Any]) -> None:
    draw = random.Random(11)
    before = observers()
    timers: list[Clicker] = []
    logic = make_logic(FakeEngine(), lambda call: timers.append(Clicker(call)) or timers[-1])
    node = phantom_node()
    logic.process(node)
    known = (nodes_by_class(), observers())
    assert known[1] > before
    ends: Counter[str] = Counter()
    for _ in range(RUNS):
        stop_at = draw.randint(0, PASSES)
        logic.start(
            node,
            on_step=lambda step, stop_at=stop_at: logic.cancel() if step.item == stop_at else None,
            on_done=lambda summary: ends.update([summary.cancelled]),
            on_error=lambda sentence, trace: pytest.fail(sentence + trace),
        )
        if draw.random() < 0.2:
            logic.cancel()
        while logic.busy:
            timers[0].tick()
    assert ends[True] > RUNS / 2 and sum(ends.values()) == RUNS
    logic.process(node)
    assert (nodes_by_class(), observers()) == known
    assert len(threads()) == 1 and not timers[0].active
    logic.close()
    assert threads() == []
    assert observers() == before


def test_closing_the_scene_during_a_run_ends_it_and_leaves_an_empty_scene(make_logic: Callable[..., Any]) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    empty = nodes_by_class()
    heard: list[tuple[str, str]] = []
    node = phantom_node()
    logic.start(node, on_error=lambda *told: heard.append(told), on_done=lambda _: pytest.fail("it was not done"))
    engine.allow(5)
    pump(logic, lambda: (nodes := ResultNodes.find(node)) is not None and len(nodes.steps) == 5)
    slicer.mrmlScene.Clear(False)
    assert heard == [("The scene was closed; the run was cancelled.", "")]
    assert not logic.busy and logic.state is RunState.IDLE
    engine.allow(1000)
    for _ in range(20):
        logic.poll()
    assert nodes_by_class() == empty and ResultNodes.all() == []
    # What the worker still said about that run does not reach the next one.
    again = logic.process(phantom_node("again"))
    assert [step.number for step in again.nodes.steps] == list(range(1, len(again.nodes.steps) + 1))


def test_removing_the_volume_during_a_run_ends_it_with_a_sentence(make_logic: Callable[..., Any]) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    heard: list[tuple[str, str]] = []
    node = phantom_node()
    logic.start(node, on_error=lambda *told: heard.append(told))
    engine.allow(3)
    pump(logic, lambda: (nodes := ResultNodes.find(node)) is not None and len(nodes.steps) == 3)
    slicer.mrmlScene.RemoveNode(node)
    engine.allow(1000)
    pump(logic, lambda: not logic.busy)
    assert heard == [("The volume was removed from the scene; the run was cancelled.", "")]
    assert logic.process(phantom_node("other")).anomaly_ml > 0


@pytest.mark.parametrize("role", ["browser", "maskSequence", "iteration_table", "segmentation", "heatmap", "root"])
def test_removing_a_node_of_the_result_during_a_run_fails_in_a_sentence_or_not_at_all(
    make_logic: Callable[..., Any], role: str
) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    node = phantom_node()
    engine.allow(1000)
    logic.process(node)
    ended: list[str] = []
    engine._gate = threading.Semaphore(0)
    logic.start(node, on_done=lambda _: ended.append("done"), on_error=lambda sentence, trace: ended.append(sentence))
    engine.allow(3)
    nodes = ResultNodes.find(node)
    assert nodes is not None
    pump(logic, lambda: len(nodes.steps) == 3)
    taken = getattr(nodes, role)
    if taken is not None:
        slicer.mrmlScene.RemoveNode(taken)
    engine.allow(1000)
    pump(logic, lambda: not logic.busy)
    assert len(ended) == 1 and (ended == ["done"] or ended[0].startswith("The result could not be written: "))
    assert logic.process(phantom_node("other")).anomaly_ml > 0


def test_closing_the_module_ends_a_run_and_its_thread(make_logic: Callable[..., Any]) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    running(logic, engine, 2)
    assert len(threads()) == 1
    engine.allow(1000)
    logic.close()
    assert threads() == [] and not logic.busy
    logic.close()
    with pytest.raises(UserError, match="The module was closed"):
        logic.start(phantom_node("late"))


def test_one_thread_does_all_runs(make_logic: Callable[..., Any]) -> None:
    logic = make_logic(FakeEngine())
    logic.process(phantom_node("one"))
    (first,) = threads()
    logic.process(phantom_node("two"))
    assert threads() == [first]


def test_the_memory_of_the_device_is_given_back_but_not_under_a_run(make_logic: Callable[..., Any]) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    node = running(logic, engine, 2)
    with pytest.raises(UserError, match="Something is running; cancel it or wait for its end"):
        logic.free_memory()
    engine.allow(1000)
    pump(logic, lambda: not logic.busy)
    assert "given back" in logic.free_memory() and engine.released == 1
    # The sweep is still in the scene.
    nodes = ResultNodes.find(node)
    assert nodes is not None
    logic.choose_again(nodes, gamma=0.1)
    pump(logic, lambda: not logic.busy)
    assert engine.prepared == 2 and nodes.curve is not None and nodes.curve.gamma == 0.1
