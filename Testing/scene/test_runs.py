"""Starting, waiting, cancelling, pausing: what a run tells, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.nodes import ResultNodes
from IterMask3DLib.scene.records import Progress, RunOptions, RunState, StepInfo
from Testing.scene.fake_engine import Clicker, FakeEngine, pump
from Testing.scene.samples import anomalyOf, phantomNode, voxels

MANY = 1000
SWEEP = 12


def masks(nodes: Any) -> list[NDArray[Any]]:
    return [voxels(nodes.maskSequence.GetNthDataNode(item)) for item in range(nodes.maskSequence.GetNumberOfDataNodes())]


def settled(logic: Any) -> None:
    pump(logic, lambda: not logic.busy)


def numbers(steps: list[StepInfo]) -> list[tuple[Any, ...]]:
    """Without the last digits of the percentages, which tables hold as such."""
    return [(s.item, s.number, s.phase, s.threshold, round(s.maskedFraction, 12), s.ratio and round(s.ratio, 12)) for s in steps]


def reached() -> list[StepInfo]:
    """The iterations of the run on the volume `brain` so far."""
    nodes = [each for each in ResultNodes.all() if each.input.GetName() == "brain"]
    return nodes[0].steps if nodes else []


def test_start_and_process_find_the_same(logic: Any) -> None:
    waited = logic.process(phantomNode("waited"))
    done: list[Any] = []
    logic.start(phantomNode("started"), onDone=done.append)
    assert logic.busy and not done
    settled(logic)
    (started,) = done
    assert numbers(started.nodes.steps) == numbers(waited.nodes.steps)
    np.testing.assert_array_equal(anomalyOf(started.nodes), anomalyOf(waited.nodes))
    np.testing.assert_array_equal(voxels(started.nodes.heatmap), voxels(waited.nodes.heatmap))
    assert started.lesions == waited.lesions and started.anomalyMl == waited.anomalyMl > 0


def test_a_run_tells_its_states_its_steps_and_its_progress(make_logic: Callable[..., Any]) -> None:
    logic = make_logic(FakeEngine())
    states: list[RunState] = []
    steps: list[StepInfo] = []
    told: list[Progress] = []
    logic.onStateChanged = states.append
    summary = logic.process(phantomNode(), onStep=steps.append, onProgress=told.append)
    assert states == [RunState.RUNNING, RunState.IDLE]
    assert numbers(steps) == numbers(summary.nodes.steps)
    assert [step.item for step in steps] == list(range(len(steps)))
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    passes = [progress for progress in told if progress.phase in ("sweep", "shrink")]
    assert [p.number for p in passes] == list(range(1, len(steps) + 1))
    fractions = [p.fraction for p in passes]
    assert fractions == sorted(fractions) and 0 < fractions[0] < fractions[-1] <= 1
    assert passes[0].text.startswith(f"Sweep: pass 1 of about {SWEEP + 6}, 0:0") and passes[0].text.endswith(" left")
    assert [p.phase for p in told if p not in passes] == ["prepare", "prepare", "restore", "write"]
    assert logic.progress == told[-1]
    assert summary.text.startswith(f"Anomaly: {summary.anomalyMl:.1f} ml in {len(summary.lesions)} lesion")


def test_start_returns_before_the_first_pass_and_a_second_start_is_refused(make_logic: Callable[..., Any]) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    logic.start(phantomNode())
    assert engine.seen == [] and logic.state is RunState.RUNNING
    with pytest.raises(UserError, match="Something is running already; cancel it or wait for its end"):
        logic.start(phantomNode())
    engine.allow(MANY)
    settled(logic)
    assert logic.state is RunState.IDLE


def test_the_timer_runs_only_while_a_run_does(make_logic: Callable[..., Any]) -> None:
    timers: list[Clicker] = []
    logic = make_logic(FakeEngine(), lambda call: timers.append(Clicker(call)) or timers[-1])
    (timer,) = timers
    assert not timer.active
    logic.start(phantomNode())
    assert timer.active
    while logic.busy:
        timer.tick()
    assert not timer.active


@pytest.mark.parametrize("passes", [0, 1, 5, SWEEP - 1, SWEEP, SWEEP + 1])
def test_a_cancelled_run_ends_before_its_next_pass_and_keeps_every_iteration(make_logic: Callable[..., Any], passes: int) -> None:
    whole = make_logic(FakeEngine()).process(phantomNode("whole")).nodes
    engine, done = FakeEngine(gated=True), []
    logic = make_logic(engine)
    logic.start(phantomNode(), onDone=done.append)
    if passes:
        engine.allow(passes)
    pump(logic, lambda: len(engine.seen) == passes and (not passes or len(reached()) == passes))
    logic.cancel()
    assert logic.state is RunState.CANCELLING
    # The pass that is waiting at the gate has begun or will not begin; none comes after it.
    engine.allow(MANY)
    settled(logic)
    (summary,) = done
    assert summary.cancelled and summary.text.startswith("Cancelled")
    assert passes <= len(engine.seen) <= passes + 1
    if summary.nodes is None:
        assert passes == 0
        return
    kept = len(summary.nodes.steps)
    assert kept == len(engine.seen)
    assert numbers(summary.nodes.steps) == numbers(whole.steps)[:kept]
    for mine, theirs in zip(masks(summary.nodes), masks(whole), strict=False):
        np.testing.assert_array_equal(mine, theirs)
    assert summary.nodes.browser.GetNumberOfItems() == kept
    shrunk = kept > SWEEP
    assert (summary.anomalyMl is not None) == shrunk == bool(summary.nodes.segmentId)
    if shrunk:
        assert summary.anomalyMl == pytest.approx(anomalyOf(summary.nodes).sum() * 4**3 / 1000)
        found = anomalyOf(summary.nodes)
        logic.useIteration(summary.nodes, kept - 1)
        np.testing.assert_array_equal(found, anomalyOf(summary.nodes))


def test_after_a_cancelled_run_the_next_one_finds_what_an_undisturbed_one_finds(make_logic: Callable[..., Any]) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    node = phantomNode()
    logic.start(node)
    engine.allow(4)
    pump(logic, lambda: len(reached()) == 4)
    logic.cancel()
    engine.allow(MANY)
    settled(logic)
    again = logic.process(node)
    alone = make_logic(FakeEngine()).process(phantomNode("alone"))
    assert numbers(again.nodes.steps) == numbers(alone.nodes.steps)
    np.testing.assert_array_equal(anomalyOf(again.nodes), anomalyOf(alone.nodes))


def test_a_paused_run_waits_before_its_next_pass_and_then_finds_the_same(make_logic: Callable[..., Any]) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    logic.start(phantomNode())
    engine.allow(3)
    pump(logic, lambda: len(reached()) == 3)
    logic.pause()
    assert logic.state is RunState.PAUSED
    engine.allow(MANY)
    pump(logic, lambda: len(reached()) == 4)
    for _ in range(30):
        logic.poll()
    assert len(engine.seen) == 4 and logic.busy
    logic.resume()
    settled(logic)
    alone = make_logic(FakeEngine()).process(phantomNode("alone"))
    assert numbers(reached()) == numbers(alone.nodes.steps)


def test_a_paused_run_can_be_cancelled(make_logic: Callable[..., Any]) -> None:
    engine, done = FakeEngine(gated=True), []
    logic = make_logic(engine)
    logic.start(phantomNode(), onDone=done.append)
    engine.allow(2)
    pump(logic, lambda: len(reached()) == 2)
    logic.pause()
    engine.allow(MANY)
    logic.cancel()
    settled(logic)
    assert done[0].cancelled and len(reached()) in (2, 3)


def test_the_browser_follows_the_run_unless_the_user_looks_elsewhere(make_logic: Callable[..., Any]) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    node = phantomNode()
    logic.start(node)
    engine.allow(3)
    pump(logic, lambda: len(reached()) == 3)
    logic.poll()
    nodes = ResultNodes.find(node)
    assert nodes is not None and nodes.browser.GetSelectedItemNumber() == 2
    logic.followRun = False
    logic.showIteration(nodes, 1)
    engine.allow(MANY)
    settled(logic)
    assert nodes.browser.GetSelectedItemNumber() == 1


@pytest.mark.parametrize("pass_", [1, 7, SWEEP + 2])
def test_a_failing_pass_is_told_once_and_the_next_run_works(make_logic: Callable[..., Any], pass_: int) -> None:
    engine = FakeEngine(failure=UserError("The device is out of memory; choose the CPU."), failsAt=pass_)
    logic = make_logic(engine)
    heard: list[tuple[str, str]] = []
    node = phantomNode()
    logic.start(node, onError=lambda *told: heard.append(told), onDone=lambda _: pytest.fail("it did not end well"))
    settled(logic)
    assert heard == [("The device is out of memory; choose the CPU.", "")]
    assert len(reached()) == pass_ - 1 and logic.state is RunState.IDLE
    engine.failure = None
    assert logic.process(node).anomalyMl > 0


def test_what_nobody_expected_comes_with_its_traceback(make_logic: Callable[..., Any]) -> None:
    logic = make_logic(FakeEngine(failure=ZeroDivisionError("cosmic ray"), failsAt=3))
    heard: list[tuple[str, str]] = []
    logic.start(phantomNode(), onError=lambda *told: heard.append(told))
    settled(logic)
    ((sentence, trace),) = heard
    assert sentence == "The run failed: cosmic ray." and "ZeroDivisionError" in trace and "fake_engine" in trace
    with pytest.raises(RuntimeError, match="cosmic ray"):
        logic.process(phantomNode("other"))


def test_an_error_that_nobody_listens_for_is_logged(make_logic: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    logic = make_logic(FakeEngine(failure=UserError("The device is gone; choose the CPU."), failsAt=3))
    logic.start(phantomNode())
    logic.wait()
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("IterMask3D", "The device is gone; choose the CPU.")]


def test_a_callback_that_fails_ends_the_run_and_not_the_timer(make_logic: Callable[..., Any]) -> None:
    logic = make_logic(FakeEngine())
    heard: list[tuple[str, str]] = []

    def careless(step: StepInfo) -> None:
        raise KeyError("no such widget")

    logic.start(phantomNode(), onStep=careless, onError=lambda *told: heard.append(told))
    settled(logic)
    assert len(heard) == 1 and "no such widget" in heard[0][0] and "careless" in heard[0][1]
    assert logic.process(phantomNode("other")).anomalyMl > 0


def test_a_run_may_be_started_from_the_end_of_another(make_logic: Callable[..., Any]) -> None:
    logic = make_logic(FakeEngine())
    first, second, done = phantomNode("first"), phantomNode("second"), []
    logic.start(first, onDone=lambda _: logic.start(second, onDone=done.append))
    pump(logic, lambda: bool(done))
    assert done[0].nodes.input is second


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (RunOptions(gamma=0.0), "Gamma is 0; it must be above 0."),
        (RunOptions(gamma=float("nan")), "Gamma is nan; it must be above 0."),
        (RunOptions(passes=0), "The sweep has 0 passes; it needs at least 1."),
        (RunOptions(seed=-1), "The seed is -1; it must not be below 0."),
        (RunOptions(start="middle"), "The option start is 'middle'; choose one of brain, best."),
        (RunOptions(quality="superb"), "The option quality is 'superb'; choose one of auto, fast, full, published."),
        (RunOptions(device="tpu"), "The option device is 'tpu'; choose one of auto, cuda, mps, cpu."),
    ],
)
def test_options_no_run_can_be_made_with_are_refused_in_a_sentence(logic: Any, options: RunOptions, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        logic.start(phantomNode(), options)
    assert str(refused.value) == sentence
    assert not logic.busy and not ResultNodes.all()


def test_a_model_that_is_not_there_is_told_by_the_run_in_a_sentence(logic: Any) -> None:
    with pytest.raises(UserError, match="Model missing is neither bundled, installed, nor a folder"):
        logic.process(phantomNode(), RunOptions(model="missing"))
    assert not ResultNodes.all()


def test_a_second_run_on_a_volume_writes_into_the_same_nodes(logic: Any) -> None:
    node = phantomNode()
    first = logic.process(node).nodes
    ids = {role: getattr(first, role).GetID() for role in ("segmentation", "browser", "maskSequence", "iterationTable", "lesionTable")}
    count = slicer.mrmlScene.GetNumberOfNodes()
    second = logic.process(node, RunOptions(passes=8)).nodes
    assert second == first and second.options.passes == 8
    assert {role: getattr(second, role).GetID() for role in ids} == ids
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    assert sum(step.phase == "sweep" for step in second.steps) == 8 == len(second.curve.thresholds)


def test_the_result_goes_into_the_segmentation_the_user_chose_beside_what_is_in_it(logic: Any) -> None:
    node = phantomNode()
    logic.process(node)
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "my drawing")
    mine.SetReferenceImageGeometryParameterFromVolumeNode(node)
    mine.CreateDefaultDisplayNodes()
    # The id that the module gave to its own segment elsewhere.
    mine.GetSegmentation().AddEmptySegment("Anomaly", "Ventricles")
    nodes = logic.process(node, outputSegmentation=mine).nodes
    assert nodes.segmentation is mine
    names = [mine.GetSegmentation().GetNthSegment(i).GetName() for i in range(mine.GetSegmentation().GetNumberOfSegments())]
    assert names == ["Ventricles", "Anomaly"]
    ventricles = slicer.util.arrayFromSegmentBinaryLabelmap(mine, "Anomaly", node)
    assert ventricles is None or not ventricles.any()
    assert anomalyOf(nodes).any()
