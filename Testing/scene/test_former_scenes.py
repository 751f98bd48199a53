"""A scene that version 1 of the format saved opens with everything it held."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util

from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import LayerKind
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.records import NeedsConfirmation
from Testing.scene.samples import anomaly_of, reopened, voxels

GOLDEN = Path(__file__).parent / "golden"
FACTS = json.loads((GOLDEN / "scene_of_format_1.json").read_text(encoding="utf-8"))
"""What that version said of the two results it saved: one of a point chosen by hand, one with an edited anomaly."""


@pytest.fixture
def results(logic: Any) -> dict[str, ResultNodes]:
    slicer.util.loadScene(str(GOLDEN / "scene_of_format_1.mrb"), {})
    return {nodes.input.GetName(): nodes for nodes in ResultNodes.all()}


@pytest.mark.parametrize("name", ["automatic", "edited"])
def test_its_nodes_and_numbers_are_there(results: dict[str, ResultNodes], name: str) -> None:
    nodes, facts = results[name], FACTS[name]
    assert set(results) == {"automatic", "edited"}
    assert anomaly_of(nodes).sum() == facts["anomaly"]
    assert nodes.layers == ("heatmap", "reconstruction") and voxels(nodes.heatmap).max() > 0
    assert nodes.step_layers == {
        "error_map": LayerKind.SCORE,
        "mask": LayerKind.MASK,
        "reconstruction": LayerKind.INTENSITY,
    }
    for role in ("brain", "browser", "iteration_table", "curve_table", "lesion_table", "curve_chart", "chosen_series"):
        assert nodes.node(role) is not None, role
    for step, (_, number, phase, threshold, _, fraction, seconds, ratio) in zip(
        nodes.steps, facts["steps"], strict=True
    ):
        assert (step.number, step.phase) == (number, phase)
        numbers = {"threshold": threshold, "masked_fraction": fraction}
        numbers |= {} if ratio is None else {"unmasked_fraction": ratio}
        assert step.scalars == pytest.approx(numbers, rel=1e-4) and step.seconds == pytest.approx(seconds, rel=1e-4)


@pytest.mark.parametrize("name", ["automatic", "edited"])
def test_its_records_are_the_present_ones(results: dict[str, ResultNodes], name: str) -> None:
    nodes, facts = results[name], FACTS[name]
    curve, record = json.loads(facts["curve"]), json.loads(facts["record"])
    assert nodes.run_id == facts["stamp"]
    assert nodes.curve is not None
    np.testing.assert_array_equal(nodes.curve.thresholds, curve["thresholds"])
    assert (nodes.curve.chosen, nodes.curve.by_hand) == (curve["chosen"], not curve["automatic"])
    assert nodes.curve.steps == tuple(item + 1 for item in curve["items"])
    assert nodes.brain_ml == nodes.outcome["brain_ml"] == record["brainMl"]
    assert nodes.outcome["case_score"] == record["meanError"] and nodes.provenance["model"] == "fake"
    shrink = next(each["record"] for each in nodes.artifacts if each["kind"] == "shrink")
    assert [list(pair) for pair in zip(shrink["sizes"], shrink["ratios"], strict=True)] == record["shrink"]


def test_its_choices_are_the_present_ones(results: dict[str, ResultNodes]) -> None:
    assert results["edited"].request == Request()
    assert results["automatic"].request == Request(
        precision="half", quality="full", seed=7, settings={"gamma": 0.3, "sweep_passes": 4, "start": "best"}
    )


def test_its_lesions_can_be_worked_on(logic: Any, results: dict[str, ResultNodes]) -> None:
    nodes, expected = results["automatic"], FACTS["automatic"]["lesions"]
    assert [lesion.volume_ml for lesion in logic.lesions(nodes)] == pytest.approx([row[1] for row in expected])
    assert len(logic.reject_lesions(nodes, [1])) == len(expected) - 1


def test_that_an_anomaly_was_edited_is_still_known(logic: Any, results: dict[str, ResultNodes]) -> None:
    assert logic.is_edited(results["edited"]) and not logic.is_edited(results["automatic"])
    with pytest.raises(NeedsConfirmation):
        logic.start(results["edited"].input)


def test_its_iterations_can_be_stepped_and_used(logic: Any, results: dict[str, ResultNodes]) -> None:
    nodes = results["automatic"]
    logic.show_iteration(nodes, 1)
    np.testing.assert_array_equal(voxels(nodes.proxy("mask")), voxels(nodes.sequence("mask").GetNthDataNode(1)))
    logic.use_iteration(nodes, 1)
    assert anomaly_of(nodes).any() and logic.is_edited(nodes)


def test_it_can_be_gone_on_with_from_the_same_brain_and_model_grid(
    logic: Any, results: dict[str, ResultNodes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    from dataclasses import replace

    from IterMask3DLib.core.card import CardGrid
    from IterMask3DLib.models.store import save_model
    from Testing.brains import toy_card
    from Testing.scene.engine import zeros

    folder = tmp_path_factory.mktemp("models") / "coarse"
    save_model(folder, replace(toy_card("coarse"), grid=CardGrid(8.0, (32, 32, 32))), {"reconstruction": zeros()})
    nodes = results["automatic"]
    nodes.set_request(Request(str(folder), "cpu", backend="pytorch", settings={"sweep_passes": 4}))
    sweep = [step for step in nodes.steps if step.phase == "sweep"]
    logic.wait_for(logic.choose_again, nodes, gamma=0.1)
    assert nodes.steps[: len(sweep)] == sweep and nodes.curve is not None and not nodes.curve.by_hand


def test_saved_again_it_is_a_scene_of_the_present_version(results: dict[str, ResultNodes], tmp_path: Path) -> None:
    results["edited"].remove()
    before = results["automatic"].curve
    nodes = reopened(tmp_path / "scene.mrb")
    assert nodes.root.GetParameter("format") == "2" and not nodes.root.GetParameter("options")
    assert nodes.curve.to_record() == before.to_record() if before is not None else False
