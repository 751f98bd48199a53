"""IterMask2 from a training to a run: what its card says, its threshold, and what a run gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.base import Healthy
from IterMask3DLib.methods.itermask2.network import FIRST, MASKED
from IterMask3DLib.methods.itermask2.settings import IterMask2CalibrationSettings
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.store import Model
from IterMask3DLib.runtime.device import Device
from IterMask3DLib.runtime.runner import Runtime
from Testing.methods.slice_methods import ITERMASK2, first_volume, run


@pytest.fixture(scope="module")
def model(itermask2: Path) -> Model:
    return load_model(itermask2 / "run" / "model")


def test_the_card_says_how_the_networks_and_the_threshold_came_about(model: Model) -> None:
    card = model.card
    assert card.grid.is_2d and card.intensity == "p90" and set(card.networks) == {FIRST, MASKED}
    assert card.training["steps"].keys() == {FIRST, MASKED}
    figures = {figure.name: figure.value for figure in card.figures}
    assert card.settings["threshold"] == pytest.approx(figures["calibration: threshold"], abs=1e-5)
    assert 0 <= figures["calibration: share of healthy validation brains found anomalous, mean"] < 1


def test_without_validation_there_is_no_threshold(
    itermask2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ITERMASK2.train(itermask2, tmp_path / "run", "--validation-share", 0, "--steps", 1) == 0
    assert "the model has no threshold until itermask3d calibrate is run" in capsys.readouterr().err
    assert load_model(tmp_path / "run" / "model").card.settings == {}


def test_a_run_has_a_step_a_pass_and_its_volumes_lie_on_the_grid_of_the_input(itermask2: Path, model: Model) -> None:
    result, steps = run(model, first_volume(itermask2))
    assert [step.number for step in steps] == list(range(1, len(steps) + 1)) and len(steps) > 2
    assert set(result.layers) == {"anomaly", "heatmap", "reconstruction"}
    image = first_volume(itermask2)
    for name in result.layers:
        values = result.array(name)
        assert values is not None and values.shape == image.array.shape and not values[~result.brain].any()
    heatmap = result.array("heatmap")
    assert heatmap is not None and result.case_score == pytest.approx(float(heatmap[result.brain].mean()), rel=0.2)
    again, _ = run(model, first_volume(itermask2))
    np.testing.assert_array_equal(again.layers["anomaly"].read(), result.layers["anomaly"].read())


def test_a_higher_threshold_leaves_less(itermask2: Path, model: Model) -> None:
    low, high = (run(model, first_volume(itermask2), threshold=value)[0].scalars["mask_size"] for value in (0.5, 5.0))
    assert high < low


def test_without_a_threshold_there_is_no_run(itermask2: Path, model: Model) -> None:
    bare = replace(model, card=replace(model.card, settings={}))
    with pytest.raises(UserError, match="has no threshold yet; run itermask3d calibrate"):
        run(bare, first_volume(itermask2))


def test_a_calibration_chooses_the_error_that_a_share_of_the_masked_pixels_exceeds(model: Model) -> None:
    i, j, k = np.indices((32, 32, 6))
    brain = (i - 15.5) ** 2 + (j - 15.5) ** 2 <= 144
    volume = np.where(brain, np.sin(i / 3) * np.cos(j / 4 + k), -3).astype(np.float32)
    healthy = [Healthy(volume[None], brain, (6.0, 6.0, 6.0))]
    method, runtime, said = find_method("itermask2").load(), Runtime(Device("cpu"), "pytorch"), []
    thresholds = []
    for share in (0.5, 0.2, 0.02):
        found = method.calibrate(model, [], healthy, IterMask2CalibrationSettings(share), runtime, said.append)
        thresholds.append(found.settings["threshold"])
    assert thresholds == sorted(thresholds) and thresholds[0] < thresholds[-1]
    with pytest.raises(UserError, match="needs healthy volumes"):
        method.calibrate(model, healthy, [], IterMask2CalibrationSettings(), runtime, said.append)
