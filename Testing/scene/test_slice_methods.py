"""Methods of slices in the scene: what they find lies on the grid of the volume, and what they lack is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.request import Request
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.store import WEIGHTS, save_model
from Testing.scene.samples import anomaly_of, phantom_node, voxels

SMALL = {"patch": 8, "width": 12, "depth": 1, "heads": 3}
CONFIGS = {
    "itermask2": {"first_iteration": {"width": 2}, "masked_autoencoder": {"width": 2}},
    "mae": {
        "masked_autoencoder": {**SMALL, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2},
        "classifier": SMALL,
    },
}
SETTINGS: dict[str, dict[str, Any]] = {"itermask2": {"threshold": 0.5}, "mae": {}}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Untrained models of slices of 4 mm."""
    folder = tmp_path_factory.mktemp("models")
    for method, configs in CONFIGS.items():
        networks = {name: NetworkEntry(WEIGHTS, config=config) for name, config in configs.items()}
        grid = CardGrid(4.0, (48, 48))
        card = ModelCard(method, f"Untrained {method}", method, ("T1w",), grid, networks, settings=SETTINGS[method])
        torch.manual_seed(0)
        built = find_method(method).load().build(card)
        save_model(folder / method, card, {name: network.state_dict() for name, network in built.items()})
    return {method: str(folder / method) for method in CONFIGS}


def choice(model: str) -> Request:
    return Request(model=model, device="cpu", backend="pytorch")


def test_a_mask_of_slices_is_a_volume_with_an_iteration_a_pass(logic: Any, models: dict[str, str]) -> None:
    volume = phantom_node()
    summary = logic.process(volume, choice(models["itermask2"]))
    nodes = summary.nodes
    assert nodes.layers == ("heatmap", "reconstruction") and nodes.curve is None and nodes.scores_chart is None
    assert voxels(nodes.heatmap).shape == voxels(volume).shape
    assert summary.anomaly_ml is not None and anomaly_of(nodes).any()
    assert [step.phase for step in nodes.steps][:2] == ["first", "shrink"]
    sizes = [step.scalars["masked_fraction"] for step in nodes.steps]
    assert sizes == sorted(sizes, reverse=True)
    logic.show_iteration(nodes, 0)
    logic.use_iteration(nodes, 0)
    assert anomaly_of(nodes).any()


def test_scores_of_slices_come_with_a_heatmap_and_without_a_segment(
    logic: Any, models: dict[str, str], tmp_path: Path
) -> None:
    volume = phantom_node()
    summary = logic.process(volume, choice(models["mae"]))
    nodes = summary.nodes
    assert nodes.layers == ("heatmap", "reconstruction") and not nodes.segment_id and summary.anomaly_ml is None
    assert np.asarray(voxels(nodes.heatmap)).max() > 0
    scores = nodes.outcome["slice_scores"]
    assert nodes.outcome["case_score"] == max(scores)
    table = nodes.scores_table.GetTable()
    shown = [table.GetColumnByName("Score").GetValue(row) for row in range(table.GetNumberOfRows())]
    assert shown == scores and f"in slice {scores.index(max(scores)) + 1}" in nodes.scores_chart.GetTitle()
    assert [step.phase for step in nodes.steps] == ["reconstruct"] * 4 + ["classify"]
    for number in (0, 4):
        logic.show_iteration(nodes, number)
    files = [path.name for path in logic.wait_for(logic.save, nodes, tmp_path)]
    assert any(name.endswith("report.html") for name in files) and not any("anomaly" in name for name in files)
