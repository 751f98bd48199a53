"""A model that gives the threshold itself, smooths its residuals and regrows what stays masked: the scene follows it as the command line does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from IterMask3DLib.core.card import Scoring
from IterMask3DLib.models.store import load_model, save_model
from IterMask3DLib.run import Request, segment
from IterMask3DLib.scene.geometry import volumeOf
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.records import RunOptions
from Testing.scene.fake_engine import pump
from Testing.scene.samples import anomaly_of, phantom_node, reopened, voxels

TIMES_MEDIAN = 1.5


@pytest.fixture(scope="module")
def recipe(toy: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny model with a threshold of its own."""
    model, folder = load_model(Path(toy)), tmp_path_factory.mktemp("models") / "recipe"
    save_model(
        folder,
        model.network,
        replace(model.card, name="recipe", scoring=Scoring(smoothing_mm=5.0, regrow=0.7, times_median=TIMES_MEDIAN)),
    )
    return str(folder)


def same_as(nodes: ResultNodes, model: str, **request: Any) -> None:
    """The scene holds what the engine finds by itself for this request."""
    outcome = segment(volumeOf(nodes.input), load_model(Path(model)), Request(**request))
    np.testing.assert_array_equal(anomaly_of(nodes), outcome.anomaly)
    np.testing.assert_array_equal(voxels(nodes.heatmap), outcome.heatmap)
    assert nodes.curve is not None
    assert (nodes.curve.fixed, nodes.curve.threshold, nodes.curve.chosen) == (
        outcome.curve.fixed,
        outcome.curve.threshold,
        outcome.curve.chosen,
    )


@pytest.mark.parametrize("opened", [False, True])
def test_its_threshold_is_kept_until_the_user_asks_for_another(
    make_logic: Callable[..., Any], recipe: str, opened: bool, tmp_path: Path
) -> None:
    def again(**choice: Any) -> None:
        failed: list[str] = []
        logic.choose_again(nodes, on_error=lambda *told: failed.extend(told), **choice)
        pump(logic, lambda: not logic.busy)
        assert not failed, failed

    logic = make_logic()
    nodes = logic.process(phantom_node(), RunOptions(model=recipe)).nodes
    same_as(nodes, recipe)
    assert nodes.curve.fixed == TIMES_MEDIAN * nodes.curve.median and "the model's" in nodes.curve_chart.GetTitle()
    assert (
        nodes.provenance["point_chosen_by"] == "model"
        and nodes.provenance["settings"]["curve"]["times_median"] == TIMES_MEDIAN
    )
    if opened:
        nodes = reopened(tmp_path / "scene.mrb")
        logic = make_logic()
    again(start="best")
    same_as(nodes, recipe, start="best")
    # The sweep that was made had no point to choose, and so visited few; it is not made again.
    again(gamma=0.2)
    same_as(nodes, recipe, start="best", gamma=0.2, quality="fast")
    assert nodes.options == RunOptions(model=recipe, start="best", gamma=0.2, quality="fast")
    assert nodes.curve.fixed is None and nodes.provenance["point_chosen_by"] == "gamma"
    again(point=4)
    assert nodes.curve.fixed is None and nodes.curve.threshold == nodes.curve.thresholds[4]
    assert nodes.provenance["point_chosen_by"] == "hand"
