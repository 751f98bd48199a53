"""However a run ends, nothing of it goes on: no engine, timer, observer or orphan node."""

from __future__ import annotations

import gc
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest
import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.records import RunState
from IterMask3DLib.scene.run.engine_client import engine_command
from IterMask3DLib.scene.run.transport import Command, pipes_to
from Testing.scene.engine import SWEEP, Clicker, Gate, TestEngine, pump, settled
from Testing.scene.samples import phantom_node

RUNS = 30
PASSES = SWEEP + 2


def nodes_by_class() -> Counter[str]:
    scene = slicer.mrmlScene
    return Counter(scene.GetNthNode(index).GetClassName() for index in range(scene.GetNumberOfNodes()))


def observers() -> int:
    """Functions of the module that something still holds: what VTK is to call lives as long as it is observed."""
    gc.collect()
    functions = (each for each in gc.get_objects() if type(each) is FunctionType and "<locals>" in each.__qualname__)
    return sum((each.__module__ or "").startswith("IterMask3DLib.scene") for each in functions)


def running(logic: Any, gate: Gate, choices: Request, passes: int, **callbacks: Any) -> Any:
    """A run of which so many passes came through, and no more do for now."""
    node = phantom_node()
    gate.allow(passes)
    logic.start(node, choices, **callbacks)
    pump(logic, lambda: (nodes := ResultNodes.find(node)) is not None and len(nodes.steps) == passes)
    return node


def test_many_runs_cancelled_anywhere_leave_nothing_behind(make_logic: Callable[..., Any], choices: Request) -> None:
    draw = random.Random(11)
    before = observers()
    timers: list[Clicker] = []
    logic = make_logic(lambda call: timers.append(Clicker(call)) or timers[-1])
    node = phantom_node()
    logic.process(node, choices)
    known = (nodes_by_class(), observers())
    assert known[1] > before
    ends: Counter[str] = Counter()
    for _ in range(RUNS):
        stop_at = draw.randint(0, PASSES)
        logic.start(
            node,
            choices,
            on_step=lambda item, step, stop_at=stop_at: logic.cancel() if item == stop_at else None,
            on_done=lambda summary: ends.update([summary.cancelled]),
            on_error=lambda sentence, trace: pytest.fail(sentence + trace),
        )
        if draw.random() < 0.2:
            logic.cancel()
        while logic.busy:
            timers[0].tick()
    assert ends[True] > RUNS / 4 and sum(ends.values()) == RUNS
    logic.process(node, choices)
    assert (nodes_by_class(), observers()) == known
    assert not timers[0].active
    logic.close()
    assert observers() == before


def test_closing_the_scene_during_a_run_ends_it_and_leaves_an_empty_scene(
    logic: Any, gate: Gate, choices: Request
) -> None:
    empty = nodes_by_class()
    heard: list[tuple[str, str]] = []
    running(
        logic,
        gate,
        choices,
        4,
        on_error=lambda *told: heard.append(told),
        on_done=lambda _: pytest.fail("it was not done"),
    )
    slicer.mrmlScene.Clear(False)
    assert heard == [("The scene was closed; the run was cancelled.", "")]
    assert not logic.busy and logic.state is RunState.IDLE
    gate.allow(None)
    for _ in range(20):
        logic.poll()
    assert nodes_by_class() == empty and ResultNodes.all() == []
    # What the engine still said about that run does not reach the next one.
    again = logic.process(phantom_node("again"), choices)
    assert [step.number for step in again.nodes.steps] == list(range(1, len(again.nodes.steps) + 1))


def test_removing_the_volume_during_a_run_ends_it_with_a_sentence(logic: Any, gate: Gate, choices: Request) -> None:
    heard: list[tuple[str, str]] = []
    node = running(logic, gate, choices, 3, on_error=lambda *told: heard.append(told))
    slicer.mrmlScene.RemoveNode(node)
    gate.allow(None)
    settled(logic)
    assert heard == [("The volume was removed from the scene; the run was cancelled.", "")]
    assert logic.process(phantom_node("other"), choices).anomaly_ml > 0


@pytest.mark.parametrize("role", ["browser", "step.mask", "step.error_map", "iteration_table", "root"])
def test_removing_what_a_run_writes_into_ends_it_with_a_sentence(
    logic: Any, gate: Gate, choices: Request, role: str
) -> None:
    heard: list[tuple[str, str]] = []
    node = running(
        logic, gate, choices, 3, on_error=lambda *told: heard.append(told), on_done=lambda _: pytest.fail("done")
    )
    nodes = ResultNodes.find(node)
    assert nodes is not None
    slicer.mrmlScene.RemoveNode(nodes.root if role == "root" else nodes.node(role))
    gate.allow(None)
    settled(logic)
    assert heard == [("A part of the result was removed from the scene; the run was cancelled.", "")]
    assert logic.process(node, choices).anomaly_ml > 0


@pytest.mark.parametrize("role", ["segmentation", "layer.heatmap", "brain", "lesion_table", "curve_chart"])
def test_what_a_run_makes_only_in_its_end_may_be_removed_meanwhile(
    logic: Any, gate: Gate, choices: Request, role: str
) -> None:
    node = phantom_node()
    nodes = logic.process(node, choices).nodes
    taken = nodes.node(role)
    done: list[Any] = []
    gate.allow(3)
    logic.start(node, choices, on_done=done.append)
    pump(logic, lambda: len(nodes.steps) == 3)
    if slicer.mrmlScene.IsNodePresent(taken):
        slicer.mrmlScene.RemoveNode(taken)
    gate.allow(None)
    settled(logic)
    assert not done[0].cancelled and nodes.node(role) is not None


def test_an_end_that_cannot_be_written_is_told_once(
    logic: Any, choices: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    from IterMask3DLib.scene.run import result_writer

    def broken(*_: Any) -> None:
        raise RuntimeError("the hierarchy is gone")

    heard: list[tuple[str, str]] = []
    monkeypatch.setattr(result_writer.sequences, "end_iterations", broken)
    logic.start(
        phantom_node(), choices, on_error=lambda *told: heard.append(told), on_done=lambda _: pytest.fail("done")
    )
    settled(logic)
    ((sentence, trace),) = heard
    assert sentence == "The result could not be written: the hierarchy is gone" and "broken" in trace


def test_closing_the_module_ends_a_run_and_every_question(logic: Any, gate: Gate, choices: Request) -> None:
    heard: list[str] = []
    running(logic, gate, choices, 2, on_error=lambda sentence, trace: heard.append(sentence))
    logic.describe(on_error=lambda sentence, trace: heard.append(sentence))
    logic.close()
    assert heard == ["The module was closed; the run was cancelled.", "The engine was ended; ask again."]
    assert not logic.busy
    logic.close()
    with pytest.raises(UserError, match="The module was closed"):
        logic.start(phantom_node("late"), choices)
    with pytest.raises(UserError, match="The module was closed"):
        logic.describe()


def test_the_memory_of_the_device_is_given_back_but_not_under_a_run(logic: Any, gate: Gate, choices: Request) -> None:
    node = running(logic, gate, choices, 2)
    with pytest.raises(UserError, match="Something is running already; cancel it or wait for its end"):
        logic.free_memory()
    gate.allow(None)
    settled(logic)
    assert "given back" in logic.wait_for(logic.free_memory)
    # The sweep is still in the scene.
    nodes = ResultNodes.find(node)
    assert nodes is not None
    logic.wait_for(logic.choose_again, nodes, gamma=0.1)
    assert gate.asked["recall"] == 1 and nodes.curve is not None and nodes.curve.gamma == 0.1


def test_an_engine_that_is_killed_is_one_sentence_and_the_next_click_starts_another(
    make_logic: Callable[..., Any], choices: Request
) -> None:
    engine = TestEngine()
    logic = make_logic(open_transport=engine.open)
    engine.gate.allow(3)
    heard: list[tuple[str, str]] = []
    node = phantom_node()
    logic.start(node, choices, on_error=lambda *told: heard.append(told))
    pump(logic, lambda: (nodes := ResultNodes.find(node)) is not None and len(nodes.steps) == 3)
    os.kill(engine.pid, signal.SIGKILL)
    engine.gate.allow(None)
    settled(logic)
    ((sentence, _),) = heard
    assert "The engine ended unexpectedly (it was killed" in sentence and "run again" in sentence
    nodes = ResultNodes.find(node)
    assert nodes is not None and len(nodes.steps) >= 3
    logic.process(node, choices)
    # What the dead engine knew of the run comes from the scene.
    os.kill(engine.pid, signal.SIGKILL)
    pump(logic, lambda: not logic._controller.client.running)
    logic.wait_for(logic.choose_again, nodes, gamma=0.1)
    assert engine.gate.asked["recall"] == 1
    logic.close()
    engine.close()


def test_an_engine_that_cannot_be_started_is_told_in_a_sentence(
    make_logic: Callable[..., Any], choices: Request
) -> None:
    logic = make_logic(open_transport=pipes_to(Command(("/nowhere/itermask3d", "serve"))))
    with pytest.raises(UserError, match="The engine cannot be started: /nowhere/itermask3d: No such file"):
        logic.process(phantom_node(), choices)
    logic.use_engine(pipes_to(engine_command()))
    assert logic.wait_for(logic.describe).default_model == "t1w"
    assert logic.process(phantom_node("other"), choices).anomaly_ml > 0
