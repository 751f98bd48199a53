"""Another choice on the curve makes again only what comes after it, and finds what a fresh run with it finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import ByPoint, Request
from IterMask3DLib.core.result import ANOMALY, HEATMAP, Step
from IterMask3DLib.run import finish
from Testing.scene.alone import found, run_of, same_as
from Testing.scene.engine import SWEEP, Gate, pump, settled
from Testing.scene.samples import anomaly_of, centred, head_node, phantom_node, reopened, voxels

GAMMA, OTHER_GAMMA = 0.5, 0.15


def left_handed_head() -> Any:
    """On a finer and left-handed grid, so that going between the grids matters."""
    shape = (52, 60, 44)
    return head_node(centred(np.diag([-3.2, 3.2, 3.6]), shape), shape)


@pytest.fixture(params=["fast", "full", "published"])
def wanted(request: pytest.FixtureRequest, toy: str) -> Request:
    """A run with a network that knows nothing, but is one."""
    return Request(model=toy, device="cpu", backend="pytorch", quality=request.param, seed=5, settings={"gamma": GAMMA})


@pytest.fixture(params=["in the session", "in a scene that was opened again"])
def swept(
    request: pytest.FixtureRequest, make_logic: Callable[..., Any], wanted: Request, tmp_path: Path
) -> tuple[Any, Any]:
    """A logic and the result of a run; its state is still in the engine, or only in the scene."""
    logic = make_logic()
    nodes = logic.process(phantom_node() if wanted.quality == "full" else left_handed_head(), wanted).nodes
    if "opened" in request.param:
        nodes = reopened(tmp_path / "scene.mrb")
        logic = make_logic()
    return logic, nodes


def chosen(request: Request, **settings: Any) -> Request:
    return replace(request, settings={**request.settings, **settings})


def test_a_run_finds_what_is_found_without_a_scene(logic: Any, wanted: Request) -> None:
    nodes = logic.process(left_handed_head(), wanted).nodes
    alone = found(nodes.input, wanted)
    same_as(nodes, alone)
    names = ("method", "model", "model_sha256", "settings", "seed", "versions")
    assert [nodes.provenance[name] for name in names] == json.loads(json.dumps([alone.provenance[n] for n in names]))


def test_another_choice_finds_what_a_fresh_run_with_it_finds(swept: Any, wanted: Request) -> None:
    logic, nodes = swept
    before = [step for step in nodes.steps if step.phase == "sweep"]
    first = nodes.curve.chosen
    logic.wait_for(logic.choose_again, nodes, gamma=OTHER_GAMMA)
    other = chosen(wanted, gamma=OTHER_GAMMA)
    same_as(nodes, found(nodes.input, other))
    assert nodes.curve.chosen < first and nodes.request == other
    logic.wait_for(logic.choose_again, nodes, settings={"start": "best"})
    same_as(nodes, found(nodes.input, chosen(other, start="best")))
    assert nodes.request == chosen(other, start="best") and nodes.provenance["settings"]["start"] == "best"
    logic.wait_for(logic.choose_again, nodes, gamma=GAMMA, settings={"start": "brain"})
    same_as(nodes, found(nodes.input, wanted))
    assert [step for step in nodes.steps if step.phase == "sweep"] == before
    assert [step.number for step in nodes.steps] == list(range(1, len(nodes.steps) + 1))


def test_a_point_chosen_by_hand_is_the_threshold_of_the_passes_that_follow(swept: Any, wanted: Request) -> None:
    logic, nodes = swept
    point = len(nodes.curve.thresholds) - 4
    for start in ("brain", "best"):
        run = run_of(nodes.input, wanted)
        state = finish(run.infer()).state
        alone = finish(run.resume(state, ByPoint(point), {"start": start}))
        logic.wait_for(logic.choose_again, nodes, point=point, settings={"start": start})
        np.testing.assert_array_equal(voxels(nodes.heatmap), alone.array(HEATMAP))
        np.testing.assert_array_equal(anomaly_of(nodes), alone.array(ANOMALY))
    assert (nodes.curve.chosen, nodes.curve.by_hand) == (point, True)
    assert "chosen by hand" in logic.curve_text(nodes)
    # What is not said stays as it was.
    logic.wait_for(logic.choose_again, nodes, settings={"start": "brain"})
    assert (nodes.curve.chosen, nodes.curve.by_hand) == (point, True)


def test_the_scene_keeps_the_sweep_as_it_was_made(swept: Any, wanted: Request) -> None:
    _, nodes = swept
    steps = [event for event in run_of(nodes.input, wanted).infer() if isinstance(event, Step)]
    for number in nodes.curve.steps:
        kept = nodes.sequence("mask").GetNthDataNode(number - 1)
        np.testing.assert_array_equal(voxels(kept) > 0, steps[number - 1].layers["mask"].read())


@pytest.mark.parametrize("opened", [False, True])
def test_no_sweep_pass_is_made_again(
    make_logic: Callable[..., Any], gate: Gate, choices: Request, opened: bool, tmp_path: Path
) -> None:
    logic = make_logic()
    nodes = logic.process(phantom_node(), choices).nodes
    brain_source = nodes.outcome["brain_source"]
    if opened:
        nodes = reopened(tmp_path / "scene.mrb")
        logic = make_logic()
    told: list[str] = []
    gate.seen.clear()
    gate.asked.clear()
    logic.wait_for(logic.choose_again, nodes, gamma=0.05, on_log=told.append)
    assert {phase for phase, _ in gate.seen} == {"shrink"}
    assert gate.asked["prepare"] == int(opened) == sum("taken from the scene" in text for text in told)
    assert nodes.outcome["brain_source"] == brain_source
    gate.asked.clear()
    logic.wait_for(logic.choose_again, nodes, gamma=0.5)
    assert gate.asked == {"resume": 1}


def test_an_input_that_has_changed_since_is_refused(
    make_logic: Callable[..., Any], choices: Request, tmp_path: Path
) -> None:
    logic = make_logic()
    nodes = logic.process(phantom_node(), choices).nodes
    slicer.util.arrayFromVolume(nodes.input)[20, 20, 20] += 1
    with pytest.raises(UserError, match="brain has changed since the run; run Segment again"):
        logic.choose_again(nodes, gamma=0.1)
    slicer.util.arrayFromVolume(nodes.input)[20, 20, 20] -= 1
    logic.wait_for(logic.choose_again, nodes, gamma=0.1)
    nodes = reopened(tmp_path / "scene.mrb")
    other = make_logic()
    origin = nodes.input.GetOrigin()
    nodes.input.SetOrigin(origin[0] + 4, origin[1], origin[2])
    nodes.brain.SetOrigin(origin[0] + 4, origin[1], origin[2])
    with pytest.raises(UserError, match="brain has changed since the run; run Segment again"):
        other.wait_for(other.choose_again, nodes, gamma=0.1)


def test_what_cannot_be_chosen_is_refused_in_a_sentence(logic: Any, gate: Gate, choices: Request) -> None:
    node = phantom_node()
    done: list[Any] = []
    # More passes than the engine may be ahead.
    gate.allow(3)
    logic.start(node, chosen(choices, sweep_passes=30), on_done=done.append)
    pump(logic, lambda: len(gate.seen) == 3)
    logic.cancel()
    gate.allow(None)
    settled(logic)
    with pytest.raises(UserError, match="This result has no threshold curve that could be gone on with"):
        logic.choose_again(done[0].nodes, gamma=0.1)
    nodes = logic.process(node, choices).nodes
    with pytest.raises(UserError, match=f"The curve has points 1 to {SWEEP}; {SWEEP + 1} is not one of them"):
        logic.choose_again(nodes, point=SWEEP)
    with pytest.raises(UserError, match="gamma is -1"):
        logic.wait_for(logic.choose_again, nodes, gamma=-1.0)
    with pytest.raises(UserError, match="colour is not a setting"):
        logic.wait_for(logic.choose_again, nodes, settings={"colour": "red"})
    assert nodes.request == choices
    slicer.mrmlScene.RemoveNode(nodes.input)
    with pytest.raises(UserError, match="The volume of this result is no longer in the scene"):
        logic.choose_again(nodes, gamma=0.1)


def test_cancelled_before_its_first_pass_it_changes_nothing(logic: Any, choices: Request) -> None:
    nodes = logic.process(phantom_node(), choices).nodes
    before = (nodes.curve.chosen, nodes.request, nodes.steps, anomaly_of(nodes).sum())
    done: list[Any] = []
    logic.choose_again(nodes, point=3, settings={"start": "best"}, on_done=done.append)
    logic.cancel()
    settled(logic)
    assert done[0].cancelled
    if done[0].nodes is None:
        assert (nodes.curve.chosen, nodes.request, nodes.steps, anomaly_of(nodes).sum()) == before
    else:
        # The engine was quicker: then curve, heatmap and segmentation are those of the new choice, all of them.
        assert nodes.curve.chosen == 3 and nodes.steps[-1].scalars["threshold"] == nodes.curve.threshold
