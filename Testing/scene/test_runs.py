"""Starting, waiting, cancelling, pausing: what a run tells, and what it keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import slicer
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import Step
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.records import RunProgress, RunState
from Testing.scene.engine import AHEAD, SWEEP, Clicker, Gate, pump, settled
from Testing.scene.samples import anomaly_of, phantom_node, voxels

PAUSE_SECONDS = 1.0


def masks(nodes: Any) -> list[NDArray[Any]]:
    sequence = nodes.sequence("mask")
    return [voxels(sequence.GetNthDataNode(item)) for item in range(sequence.GetNumberOfDataNodes())]


def numbers(steps: list[Step]) -> list[tuple[Any, ...]]:
    """Without the last digits of the percentages, which tables hold as such."""
    return [(s.number, s.phase, {name: round(v, 12) for name, v in s.scalars.items()}) for s in steps]


def reached() -> list[Step]:
    """The iterations of the run on the volume `brain` so far."""
    nodes = [each for each in ResultNodes.all() if each.input.GetName() == "brain"]
    return nodes[0].steps if nodes else []


def test_start_and_process_find_the_same(logic: Any, choices: Request) -> None:
    waited = logic.process(phantom_node("waited"), choices)
    done: list[Any] = []
    logic.start(phantom_node("started"), choices, on_done=done.append)
    assert logic.busy and not done
    settled(logic)
    (started,) = done
    assert numbers(started.nodes.steps) == numbers(waited.nodes.steps)
    np.testing.assert_array_equal(anomaly_of(started.nodes), anomaly_of(waited.nodes))
    np.testing.assert_array_equal(voxels(started.nodes.heatmap), voxels(waited.nodes.heatmap))
    assert started.lesions == waited.lesions and started.anomaly_ml == waited.anomaly_ml > 0


def test_a_run_tells_its_states_its_steps_and_its_progress(logic: Any, choices: Request) -> None:
    states: list[RunState] = []
    steps: list[tuple[int, Step]] = []
    told: list[RunProgress] = []
    logic.on_state_changed = states.append
    summary = logic.process(phantom_node(), choices, on_step=lambda *step: steps.append(step), on_progress=told.append)
    assert states == [RunState.RUNNING, RunState.IDLE]
    assert numbers([step for _, step in steps]) == numbers(summary.nodes.steps)
    assert [item for item, _ in steps] == list(range(len(steps)))
    assert [step.number for _, step in steps] == list(range(1, len(steps) + 1))
    passes = [progress for progress in told if progress.phase in ("sweep", "shrink")]
    assert [p.done for p in passes] == list(range(1, len(steps) + 1))
    fractions = [p.fraction for p in passes]
    assert fractions == sorted(fractions) and 0 < fractions[0] < fractions[-1] <= 1
    assert passes[0].text.startswith(f"Comparing with healthy brains (1 of about {SWEEP + 6}), ") and passes[
        0
    ].text.endswith(" left")
    others = [p.phase for p in told if p not in passes]
    assert set(others[:-2]) == {"prepare"} and others[-2:] == ["restore", "write"]
    assert logic.progress == told[-1]
    assert summary.text.startswith(f"{summary.anomaly_ml:.1f} ml in {len(summary.lesions)} lesion")


def test_start_returns_before_the_first_pass_and_a_second_start_is_refused(
    logic: Any, gate: Gate, choices: Request
) -> None:
    gate.allow(0)
    logic.start(phantom_node(), choices)
    assert gate.seen == [] and logic.state is RunState.RUNNING
    with pytest.raises(UserError, match="Something is running already; cancel it or wait for its end"):
        logic.start(phantom_node(), choices)
    gate.allow(None)
    settled(logic)
    assert logic.state is RunState.IDLE


def test_the_timer_runs_only_while_something_is_awaited(make_logic: Callable[..., Any], choices: Request) -> None:
    timers: list[Clicker] = []
    logic = make_logic(lambda call: timers.append(Clicker(call)) or timers[-1])
    (timer,) = timers
    assert not timer.active
    logic.start(phantom_node(), choices)
    assert timer.active
    while logic.busy:
        timer.tick()
    assert not timer.active
    told: list[Any] = []
    logic.describe(on_done=told.append)
    while timer.active:
        timer.tick()
    assert told[0].default_model == "t1w" and logic.description is told[0]


@pytest.mark.parametrize("passes", [0, 1, SWEEP - 1, SWEEP, SWEEP + 1])
def test_a_cancelled_run_keeps_every_iteration_that_was_made(
    logic: Any, gate: Gate, choices: Request, passes: int
) -> None:
    whole = logic.process(phantom_node("whole"), choices).nodes
    done: list[Any] = []
    gate.steps = 0
    logic.start(phantom_node(), choices, on_done=done.append)
    gate.allow(passes)
    pump(logic, lambda: len(reached()) == passes)
    logic.cancel()
    assert logic.state is RunState.CANCELLING
    gate.allow(None)
    settled(logic)
    (summary,) = done
    assert summary.cancelled and summary.text.startswith("Cancelled")
    if summary.nodes is None:
        assert passes == 0 and not reached()
        return
    kept = len(summary.nodes.steps)
    assert passes <= kept <= min(passes + AHEAD, len(whole.steps))
    assert numbers(summary.nodes.steps) == numbers(whole.steps)[:kept]
    for mine, theirs in zip(masks(summary.nodes), masks(whole), strict=False):
        np.testing.assert_array_equal(mine, theirs)
    assert summary.nodes.browser.GetNumberOfItems() == kept
    assert (summary.anomaly_ml is not None) == (kept > SWEEP) == bool(summary.nodes.segment_id)
    if kept > SWEEP:
        assert summary.anomaly_ml == pytest.approx(anomaly_of(summary.nodes).sum() * 4**3 / 1000)
        found = anomaly_of(summary.nodes)
        logic.use_iteration(summary.nodes, kept - 1)
        np.testing.assert_array_equal(found, anomaly_of(summary.nodes))
    else:
        assert f"{kept} iterations are kept (no threshold was chosen yet)" in summary.text


def test_after_a_cancelled_run_the_next_one_finds_what_an_undisturbed_one_finds(
    logic: Any, gate: Gate, choices: Request
) -> None:
    node = phantom_node()
    gate.allow(4)
    logic.start(node, choices)
    pump(logic, lambda: len(reached()) == 4)
    logic.cancel()
    gate.allow(None)
    settled(logic)
    again = logic.process(node, choices)
    alone = logic.process(phantom_node("alone"), choices)
    assert numbers(again.nodes.steps) == numbers(alone.nodes.steps)
    np.testing.assert_array_equal(anomaly_of(again.nodes), anomaly_of(alone.nodes))


def test_a_paused_run_waits_and_then_finds_the_same(logic: Any, gate: Gate, choices: Request) -> None:
    # Longer than what the engine may be ahead.
    choices = replace(choices, settings={**choices.settings, "sweep_passes": 2 * AHEAD})
    gate.allow(3)
    logic.start(phantom_node(), choices)
    pump(logic, lambda: len(reached()) == 3)
    logic.pause()
    assert logic.state is RunState.PAUSED
    gate.allow(None)
    end = time.monotonic() + PAUSE_SECONDS
    pump(logic, lambda: time.monotonic() > end)
    assert 3 <= len(reached()) <= 3 + AHEAD and logic.busy
    logic.unpause()
    assert logic.state is RunState.RUNNING
    settled(logic)
    alone = logic.process(phantom_node("alone"), choices)
    assert numbers(reached()) == numbers(alone.nodes.steps)


def test_a_paused_run_can_be_cancelled(logic: Any, gate: Gate, choices: Request) -> None:
    done: list[Any] = []
    gate.allow(2)
    logic.start(phantom_node(), choices, on_done=done.append)
    pump(logic, lambda: len(reached()) == 2)
    logic.pause()
    gate.allow(None)
    logic.cancel()
    settled(logic)
    assert done[0].cancelled and 2 <= len(reached()) <= 2 + AHEAD


def test_the_browser_follows_the_run_unless_the_user_looks_elsewhere(logic: Any, gate: Gate, choices: Request) -> None:
    node = phantom_node()
    gate.allow(3)
    logic.start(node, choices)
    pump(logic, lambda: len(reached()) == 3)
    logic.poll()
    nodes = ResultNodes.find(node)
    assert nodes is not None and nodes.browser.GetSelectedItemNumber() == 2
    logic.follow_run = False
    logic.show_iteration(nodes, 1)
    gate.allow(None)
    settled(logic)
    assert nodes.browser.GetSelectedItemNumber() == 1


@pytest.mark.parametrize("pass_", [1, 4, SWEEP + 2])
def test_a_failing_pass_is_told_once_and_the_next_run_works(
    logic: Any, gate: Gate, choices: Request, pass_: int
) -> None:
    gate.fails_at, gate.failure = pass_, ("The device is out of memory; choose the CPU.", "")
    heard: list[tuple[str, str]] = []
    node = phantom_node()
    logic.start(
        node, choices, on_error=lambda *told: heard.append(told), on_done=lambda _: pytest.fail("it did not end well")
    )
    settled(logic)
    assert heard == [("The device is out of memory; choose the CPU.", "")]
    assert len(reached()) == pass_ - 1 and logic.state is RunState.IDLE
    gate.fails_at = 0
    assert logic.process(node, choices).anomaly_ml > 0


def test_what_nobody_expected_comes_with_its_traceback(logic: Any, gate: Gate, choices: Request) -> None:
    gate.fails_at, gate.failure = 3, ("The run failed: cosmic ray.", "Traceback: ZeroDivisionError")
    heard: list[tuple[str, str]] = []
    logic.start(phantom_node(), choices, on_error=lambda *told: heard.append(told))
    settled(logic)
    assert heard == [gate.failure]
    with pytest.raises(RuntimeError, match="cosmic ray"):
        logic.process(phantom_node("other"), choices)


def test_an_error_that_nobody_listens_for_is_logged(
    logic: Any, gate: Gate, choices: Request, caplog: pytest.LogCaptureFixture
) -> None:
    gate.fails_at, gate.failure = 3, ("The device is gone; choose the CPU.", "")
    logic.start(phantom_node(), choices)
    logic.wait()
    told = [(record.name, record.getMessage()) for record in caplog.records]
    assert told == [("IterMask3D", "The device is gone; choose the CPU.")]


def test_a_callback_that_fails_ends_the_run_and_not_the_timer(logic: Any, choices: Request) -> None:
    heard: list[tuple[str, str]] = []

    def careless(item: int, step: Step) -> None:
        raise KeyError("no such widget")

    logic.start(phantom_node(), choices, on_step=careless, on_error=lambda *told: heard.append(told))
    settled(logic)
    assert len(heard) == 1 and "no such widget" in heard[0][0] and "careless" in heard[0][1]
    assert logic.process(phantom_node("other"), choices).anomaly_ml > 0


def test_a_run_may_be_started_from_the_end_of_another(logic: Any, choices: Request) -> None:
    first, second = phantom_node("first"), phantom_node("second")
    done: list[Any] = []
    logic.start(first, choices, on_done=lambda _: logic.start(second, choices, on_done=done.append))
    pump(logic, lambda: bool(done))
    assert done[0].nodes.input is second


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": -1}, "request: seed is -1; it must be at least 0 and at most 2.14748e+09."),
        ({"quality": "superb"}, "request: quality is 'superb'; use one of auto, fast, full, published."),
        ({"device": "tpu"}, "request: device is 'tpu'; use one of auto, cuda, mps, cpu."),
    ],
)
def test_choices_no_run_can_be_made_with_are_refused_in_a_sentence(
    logic: Any, choices: Request, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError) as refused:
        logic.start(phantom_node(), replace(choices, **changes))
    assert str(refused.value) == sentence
    assert not logic.busy and not ResultNodes.all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"gamma": 0.0}, "gamma is 0.0; it must be at least"),
        ({"gamma": float("nan")}, "gamma"),
        ({"sweep_passes": 0}, "sweep_passes is 0; it must be at least 1"),
        ({"start": "middle"}, "start is 'middle'; use one of brain, best"),
        ({"colour": "red"}, "colour is not a setting; known are inference, sensitivity"),
    ],
)
def test_settings_the_method_does_not_know_are_told_by_the_run_in_a_sentence(
    logic: Any, choices: Request, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        logic.process(phantom_node(), replace(choices, settings=settings))
    assert not logic.busy and not ResultNodes.all()


def test_a_model_that_is_not_there_is_told_by_the_run_in_a_sentence(logic: Any) -> None:
    with pytest.raises(UserError, match="Model missing is neither bundled, installed, nor a folder"):
        logic.process(phantom_node(), Request(model="missing"))
    assert not ResultNodes.all()


def test_a_second_run_on_a_volume_writes_into_the_same_nodes(logic: Any, choices: Request) -> None:
    node = phantom_node()
    first = logic.process(node, choices).nodes
    roles = ("segmentation", "browser", "step.mask", "iteration_table", "lesion_table")
    ids = {role: first.node(role).GetID() for role in roles}
    count = slicer.mrmlScene.GetNumberOfNodes()
    second = logic.process(node, replace(choices, settings={"gamma": 0.5, "sweep_passes": 4})).nodes
    assert second == first and second.request.settings["sweep_passes"] == 4
    assert {role: second.node(role).GetID() for role in ids} == ids
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    assert sum(step.phase == "sweep" for step in second.steps) == 4 == len(second.curve.thresholds)


def test_the_result_goes_into_the_segmentation_the_user_chose_beside_what_is_in_it(
    logic: Any, choices: Request
) -> None:
    node = phantom_node()
    logic.process(node, choices)
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "my drawing")
    mine.SetReferenceImageGeometryParameterFromVolumeNode(node)
    mine.CreateDefaultDisplayNodes()
    # With the name and the id that the module gave to its own segment elsewhere.
    mine.GetSegmentation().AddEmptySegment("Anomaly", "Anomaly")
    box = np.zeros(voxels(node).T.shape, np.uint8)
    box[:5, :5, :5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(box, mine, "Anomaly", node)
    nodes = logic.process(node, choices, output_segmentation=mine).nodes
    assert nodes.segmentation is mine
    assert mine.GetSegmentation().GetNumberOfSegments() == 2 and nodes.segment_id != "Anomaly"
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(mine, "Anomaly", node), box)
    assert anomaly_of(nodes).any()
    # Another one, and back: what this result wrote into the user's is found again.
    logic.process(node, choices, output_segmentation=phantom_segmentation(node))
    segment = nodes.segment_id
    logic.process(node, choices, output_segmentation=mine)
    assert nodes.segmentation is mine and mine.GetSegmentation().GetNumberOfSegments() == 2
    assert nodes.segment_id != "Anomaly" and segment
    nodes.remove()
    assert [mine.GetSegmentation().GetNthSegmentID(0)] == ["Anomaly"] and slicer.mrmlScene.IsNodePresent(mine)


def phantom_segmentation(node: Any) -> Any:
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "another")
    other.SetReferenceImageGeometryParameterFromVolumeNode(node)
    return other
