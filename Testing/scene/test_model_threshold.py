"""A model that gives the threshold itself, smooths residuals and grows regions: the scene follows it too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from IterMask3DLib.core.request import Request
from Testing.scene.alone import found, same_as
from Testing.scene.engine import blind_model
from Testing.scene.samples import phantom_node, reopened

MULTIPLE = 1.5


@pytest.fixture(scope="module")
def own_threshold(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "own"
    settings = {"smoothing_mm": 5.0, "region_growing": 0.7, "median_multiple": MULTIPLE}
    return str(blind_model(folder, sweep_passes=12, **settings))


@pytest.mark.parametrize("opened", [False, True])
def test_its_threshold_is_kept_until_the_user_asks_for_another(
    make_logic: Callable[..., Any], own_threshold: str, opened: bool, tmp_path: Path
) -> None:
    wanted = Request(model=own_threshold, device="cpu", backend="pytorch")
    logic = make_logic()
    nodes = logic.process(phantom_node(), wanted).nodes
    same_as(nodes, found(nodes.input, wanted))
    assert nodes.curve.fixed == MULTIPLE * nodes.curve.median and "the model's own" in logic.curve_text(nodes)
    assert nodes.provenance["settings"]["median_multiple"] == MULTIPLE
    if opened:
        nodes = reopened(tmp_path / "scene.mrb")
        logic = make_logic()
    logic.wait_for(logic.choose_again, nodes, settings={"start": "best"})
    same_as(nodes, found(nodes.input, replace(wanted, settings={"start": "best"})))
    # The sweep had no point to choose, and so visited few: for a gamma it is made again.
    visited = len(set(nodes.curve.steps))
    logic.wait_for(logic.choose_again, nodes, gamma=0.2)
    other = replace(wanted, settings={"start": "best", "gamma": 0.2})
    same_as(nodes, found(nodes.input, other))
    assert nodes.request == other and nodes.curve.fixed is None
    assert visited < len(set(nodes.curve.steps)) == len(nodes.curve.thresholds)
    assert "gamma 0.2" in logic.curve_text(nodes)
    logic.wait_for(logic.choose_again, nodes, point=4)
    assert nodes.curve.fixed is None and nodes.curve.threshold == nodes.curve.thresholds[4]
