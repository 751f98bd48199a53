"""What a method does not give is not there, and nothing of the scene is about one method alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import LayerKind
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from Testing.scene.samples import anomaly_of, phantom_node, reopened, voxels
from Testing.toy_methods.models import toy_method_model


@pytest.fixture(scope="module")
def models(toy_methods: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {name: str(toy_method_model(folder / name, name)) for name in ("toy_reconstruction", "toy_case_score")}


def choice(model: str, **settings: Any) -> Request:
    return Request(model=model, device="cpu", backend="pytorch", settings=settings)


def test_a_method_with_a_mask_and_no_curve_has_everything_but_the_curve(
    logic: Any, models: dict[str, str], tmp_path: Path
) -> None:
    summary = logic.process(phantom_node(), choice(models["toy_reconstruction"]))
    nodes = summary.nodes
    assert summary.anomaly_ml is not None and nodes.segment_id
    assert nodes.layers == ("heatmap", "reconstruction") and nodes.curve is None and nodes.curve_chart is None
    assert set(nodes.step_layers) == {"mask", "error_map", "reconstruction"}
    logic.show_iteration(nodes, 0)
    logic.use_iteration(nodes, 0)
    np.testing.assert_array_equal(anomaly_of(nodes), voxels(nodes.heatmap) * 0 + anomaly_of(nodes) > 0)
    with pytest.raises(UserError, match="This result has no threshold curve that could be gone on with"):
        logic.choose_again(nodes, gamma=0.1)
    files = logic.wait_for(logic.save, nodes, tmp_path)
    assert "brain_report.html" in [path.name for path in files]
    assert not any("curve" in path.name for path in files)


def test_a_method_of_two_channels_with_a_score_alone_has_no_volumes_and_no_segment(
    logic: Any, models: dict[str, str], tmp_path: Path
) -> None:
    volumes = {"T1w": phantom_node("T1w"), "T2w": phantom_node("T2w")}
    summary = logic.process(volumes, choice(models["toy_case_score"]))
    nodes = summary.nodes
    assert nodes.channels == volumes and nodes.input is volumes["T1w"]
    assert summary.anomaly_ml is None and summary.lesions == () and not nodes.segment_id
    assert nodes.layers == () and nodes.step_layers == {} and nodes.heatmap is None and nodes.segmentation is None
    assert nodes.outcome["case_score"] > 0 and len(nodes.outcome["slice_scores"]) > 1
    assert summary.text.startswith(f"Score {nodes.outcome['case_score']:.3g}, ")
    assert [step.scalars["score"] for step in nodes.steps] == pytest.approx([nodes.outcome["case_score"]])
    assert not logic.compare(nodes) and logic.measure_lesions(nodes) == [] and logic.curve_text(nodes) == ""
    logic.show_iteration(nodes, 0)
    with pytest.raises(UserError, match="Iteration 1 has no mask"):
        logic.use_iteration(nodes, 0)
    opened = reopened(tmp_path / "scene.mrb")
    assert list(opened.channels) == ["T1w", "T2w"] and opened == ResultNodes.find(opened.input)


def test_a_model_whose_inputs_are_not_all_given_is_refused_in_a_sentence(logic: Any, models: dict[str, str]) -> None:
    with pytest.raises(UserError, match="needs the input T2w"):
        logic.process({"T1w": phantom_node("T1w")}, choice(models["toy_case_score"]))


def test_another_method_on_the_same_volume_leaves_nothing_of_the_first(
    logic: Any, models: dict[str, str], choices: Request
) -> None:
    node = phantom_node()
    nodes = logic.process(node, choices).nodes
    logic.process(node, choice(models["toy_reconstruction"]))
    assert nodes.curve is None and nodes.curve_chart is None and nodes.curve_table is None
    count = len(nodes.steps)
    assert nodes.sequence("mask").GetNumberOfDataNodes() == count and "unmasked_fraction" not in nodes.steps[0].scalars
    volumes = {"T1w": node, "T2w": phantom_node("T2w")}
    logic.process(volumes, choice(models["toy_case_score"]))
    assert nodes.step_layers == {} and nodes.layers == ()
    assert nodes.browser.GetNumberOfSynchronizedSequenceNodes(True) == 0


def test_what_a_method_can_and_its_settings_are_described_without_it(logic: Any, models: dict[str, str]) -> None:
    description = logic.wait_for(logic.describe, models["toy_case_score"])
    assert description.capabilities(models["toy_case_score"]) == {"case_score", "slice_scores"}
    settings = description.settings(models["toy_case_score"])
    assert settings["power"].value == 1.0 and settings["power"].about.most == 4
    assert {"steps", "threshold_curve", "resume_from_mask", "segmentation"} <= description.capabilities()
    gamma = description.settings()["gamma"]
    assert gamma.about.published == 0.05 and gamma.about.advanced
    assert description.settings("nowhere") == {} and description.capabilities("nowhere") == frozenset()


def test_looks_follow_from_the_kind_of_a_layer(logic: Any, choices: Request) -> None:
    nodes = logic.process(phantom_node(), choices).nodes
    heat = nodes.heatmap.GetDisplayNode().GetColorNode().GetName()
    assert nodes.step_layers["error_map"] is LayerKind.SCORE
    assert nodes.proxy("error_map").GetDisplayNode().GetColorNode().GetName() == heat == "IterMask3D heat"
    grey = nodes.input.GetDisplayNode()
    for node in (nodes.reconstruction, nodes.proxy("reconstruction")):
        assert node.GetDisplayNode().GetColorNodeID() == grey.GetColorNodeID()
        assert node.GetDisplayNode().GetWindow() == grey.GetWindow()
