"""Another choice on the curve runs the shrink phase alone, and finds exactly what a fresh run with that choice finds. With a real network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.models.store import load_model
from IterMask3DLib.methods.itermask3d.threshold import fit_curve
from IterMask3DLib.methods.itermask3d.loop import result_of, shrink, sweep
from IterMask3DLib.run import Request, segment, study
from IterMask3DLib.scene.geometry import volumeOf
from IterMask3DLib.scene.records import RunOptions
from Testing.scene.fake_engine import FakeEngine, pump
from Testing.scene.samples import anomaly_of, centred, head_node, phantom_node, reopened, voxels

GAMMA, OTHER_GAMMA = 0.5, 0.15


def left_handed_head() -> Any:
    """On a finer and left-handed grid, so that going between the grids matters."""
    shape = (52, 60, 44)
    return head_node(centred(np.diag([-3.2, 3.2, 3.6]), shape), shape)


@pytest.fixture(params=["fast", "full", "published"])
def options(request: pytest.FixtureRequest, toy: str) -> RunOptions:
    return RunOptions(model=toy, gamma=GAMMA, quality=request.param, seed=5)


@pytest.fixture
def node(options: RunOptions) -> Any:
    return phantom_node() if options.quality == "full" else left_handed_head()


def asEngine(options: RunOptions) -> Request:
    return Request(
        **{name: getattr(options, name) for name in ("gamma", "start", "seed", "device", "half", "quality", "passes")}
    )


def same_as(nodes: Any, outcome: Any) -> None:
    """The scene holds what the engine found by itself."""
    np.testing.assert_array_equal(anomaly_of(nodes), outcome.anomaly)
    np.testing.assert_array_equal(voxels(nodes.heatmap), outcome.heatmap)
    np.testing.assert_allclose(voxels(nodes.reconstruction), outcome.reconstruction, atol=0.5)
    np.testing.assert_array_equal(nodes.curve.thresholds, outcome.curve.thresholds)
    assert nodes.curve.chosen == outcome.curve.chosen and nodes.curve.gamma == outcome.curve.gamma
    assert nodes.record["shrink"] == [list(row) for row in outcome.shrink]
    assert nodes.record["mean_score"] == outcome.mean_error


def fresh(node: Any, options: RunOptions) -> Any:
    return segment(volumeOf(node), load_model(Path(str(options.model))), asEngine(options))


def again(logic: Any, nodes: Any, **choice: Any) -> None:
    failed: list[str] = []
    logic.choose_again(nodes, on_error=lambda *told: failed.extend(told), **choice)
    pump(logic, lambda: not logic.busy)
    assert not failed, failed


@pytest.fixture(params=["in the session", "in a scene that was opened again"])
def swept(
    request: pytest.FixtureRequest, make_logic: Callable[..., Any], node: Any, options: RunOptions, tmp_path: Path
) -> Iterator[Any]:
    """A logic and the result of a run; the sweep is still in memory, or only in the scene."""
    logic = make_logic()
    nodes = logic.process(node, options).nodes
    if "opened" in request.param:
        nodes = reopened(tmp_path / "scene.mrb")
        logic = make_logic()
    yield logic, nodes


def test_a_run_finds_what_the_engine_finds_by_itself(
    make_logic: Callable[..., Any], node: Any, options: RunOptions
) -> None:
    nodes = make_logic().process(node, options).nodes
    outcome = fresh(node, options)
    same_as(nodes, outcome)
    differs = {"started", "seconds", "point_chosen_by"}
    # As JSON, in which a tuple is a list.
    alone = json.loads(json.dumps(outcome.provenance))
    assert {k: v for k, v in nodes.provenance.items() if k not in differs} == {
        k: v for k, v in alone.items() if k not in differs
    }


def test_another_choice_finds_what_a_fresh_run_with_it_finds(swept: Any, options: RunOptions) -> None:
    logic, nodes = swept
    before = [step for step in nodes.steps if step.phase == "sweep"]
    first = nodes.curve.chosen
    wanted = replace(options, gamma=OTHER_GAMMA)
    again(logic, nodes, gamma=OTHER_GAMMA)
    same_as(nodes, fresh(nodes.input, wanted))
    assert nodes.curve.chosen < first and nodes.options == wanted
    assert nodes.provenance["settings"]["curve"]["gamma"] == OTHER_GAMMA
    again(logic, nodes, start="best")
    same_as(nodes, fresh(nodes.input, replace(wanted, start="best")))
    assert nodes.options == replace(wanted, start="best") and nodes.provenance["settings"]["start"] == "best"
    again(logic, nodes, gamma=GAMMA, start="brain")
    same_as(nodes, fresh(nodes.input, options))
    assert [step for step in nodes.steps if step.phase == "sweep"] == before


def test_a_point_chosen_by_hand_is_the_threshold_of_the_shrink_phase(swept: Any, options: RunOptions) -> None:
    logic, nodes = swept
    point = len(nodes.curve.thresholds) - 4
    made = study(volumeOf(nodes.input), load_model(Path(str(options.model))), asEngine(options))
    swept_ = result_of(sweep(made.case, made.runner, made.settings))
    curve = replace(fit_curve(swept_.thresholds, made.settings.curve)[0], chosen=point)
    for start in ("brain", "best"):
        begin = made.case.brain if start == "brain" else swept_.masks[point].unpack()
        result = result_of(shrink(made.case, made.runner, curve, made.settings, begin, first=made.settings.passes + 1))
        again(logic, nodes, point=point, start=start)
        np.testing.assert_array_equal(
            voxels(nodes.heatmap), made.prepared.restore_map(result.heatmap) * made.prepared.brain_mask.array
        )
        np.testing.assert_array_equal(
            anomaly_of(nodes), (made.prepared.restore_mask(result.mask) > 0) & made.prepared.brain_mask.array
        )
    assert (nodes.curve.chosen, nodes.curve.automatic) == (point, False)
    assert nodes.provenance["point_chosen_by"] == "hand"


def test_the_scene_keeps_the_sweep_as_the_engine_made_it(swept: Any, options: RunOptions) -> None:
    _, nodes = swept
    made = study(volumeOf(nodes.input), load_model(Path(str(options.model))), asEngine(options))
    alone = result_of(sweep(made.case, made.runner, made.settings))
    np.testing.assert_array_equal(nodes.curve.thresholds, alone.thresholds)
    for item, mask in zip(nodes.curve.items, alone.masks, strict=True):
        np.testing.assert_array_equal(voxels(nodes.sequence("mask").GetNthDataNode(item)) > 0, mask.unpack())


@pytest.mark.parametrize("opened", [False, True])
def test_no_sweep_pass_is_made_again(make_logic: Callable[..., Any], opened: bool, tmp_path: Path) -> None:
    engine = FakeEngine()
    logic = make_logic(engine)
    nodes = logic.process(phantom_node()).nodes
    brain_source = nodes.record["brain_source"]
    if opened:
        nodes = reopened(tmp_path / "scene.mrb")
        logic = make_logic(engine)
    told: list[str] = []
    engine.seen.clear()
    engine.prepared = 0
    logic.choose_again(nodes, gamma=0.05, on_log=told.append)
    pump(logic, lambda: not logic.busy)
    assert {phase for phase, _ in engine.seen} == {"shrink"}
    assert engine.prepared == int(opened) == sum("taken from the scene" in text for text in told)
    assert nodes.record["brain_source"] == brain_source
    engine.prepared = 0
    again(logic, nodes, gamma=0.5)
    assert engine.prepared == 0


def test_an_input_that_has_changed_since_is_refused(make_logic: Callable[..., Any], tmp_path: Path) -> None:
    logic = make_logic(FakeEngine())
    nodes = logic.process(phantom_node()).nodes
    slicer.util.arrayFromVolume(nodes.input)[20, 20, 20] += 1
    with pytest.raises(UserError, match="brain has changed since the run; run Segment again"):
        logic.choose_again(nodes, gamma=0.1)
    slicer.util.arrayFromVolume(nodes.input)[20, 20, 20] -= 1
    again(logic, nodes, gamma=0.1)
    nodes = reopened(tmp_path / "scene.mrb")
    other = make_logic(FakeEngine())
    origin = nodes.input.GetOrigin()
    nodes.input.SetOrigin(origin[0] + 4, origin[1], origin[2])
    nodes.brain.SetOrigin(origin[0] + 4, origin[1], origin[2])
    told: list[str] = []
    other.choose_again(nodes, gamma=0.1, on_error=lambda sentence, trace: told.append(sentence + trace))
    pump(other, lambda: not other.busy)
    assert told == ["brain has changed since the run; run Segment again."]


def test_what_cannot_be_chosen_is_refused_in_a_sentence(make_logic: Callable[..., Any]) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    logic.start(phantom_node())
    engine.allow(3)
    pump(logic, lambda: len(engine.seen) == 3)
    logic.cancel()
    engine.allow(1000)
    pump(logic, lambda: not logic.busy)
    (nodes,) = [
        each for each in type(logic.process(phantom_node("other")).nodes).all() if each.input.GetName() == "brain"
    ]
    with pytest.raises(UserError, match="The sweep of this result did not end; run Segment again"):
        logic.choose_again(nodes, gamma=0.1)
    nodes = logic.process(nodes.input).nodes
    with pytest.raises(UserError, match="The curve has points 0 to 11; 12 is not one of them"):
        logic.choose_again(nodes, point=12)
    with pytest.raises(UserError, match="Gamma is -1; it must be above 0"):
        logic.choose_again(nodes, gamma=-1.0)
    slicer.mrmlScene.RemoveNode(nodes.input)
    with pytest.raises(UserError, match="The volume of this result is no longer in the scene"):
        logic.choose_again(nodes, gamma=0.1)


def test_cancelled_before_its_first_pass_it_changes_nothing(make_logic: Callable[..., Any]) -> None:
    logic = make_logic(FakeEngine())
    nodes = logic.process(phantom_node()).nodes
    before = (nodes.curve.chosen, nodes.options, nodes.steps, anomaly_of(nodes).sum())
    done: list[Any] = []
    logic.choose_again(nodes, point=3, start="best", on_done=done.append)
    logic.cancel()
    pump(logic, lambda: not logic.busy)
    assert done[0].cancelled
    if done[0].nodes is None:
        assert (nodes.curve.chosen, nodes.options, nodes.steps, anomaly_of(nodes).sum()) == before
    else:
        # The worker was quicker: then curve, heatmap and segmentation are those of the new choice, all of them.
        assert nodes.curve.chosen == 3 and nodes.steps[-1].threshold == nodes.curve.threshold
