"""The masked auto-encoder from a training to a run: what its card says, and what a run gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.mae.network import CLASSIFIER
from IterMask3DLib.models.store import Model
from Testing.methods.slice_methods import first_volume, run
from Testing.training.toys import column


@pytest.fixture(scope="module")
def model(mae: Path) -> Model:
    return load_model(mae / "run" / "model")


def test_the_card_says_how_the_classifier_learned_and_how_well_it_does(mae: Path, model: Model) -> None:
    rates = column(mae / "run" / CLASSIFIER / "losses.csv", "learning_rate")
    assert rates[0] == pytest.approx(5e-4)
    figures = {figure.name: figure.value for figure in model.card.figures}
    assert 0 <= float(figures["slice AUROC, pseudo-anomalies"]) <= 1
    assert model.card.settings == {"mask_ratio": 0.75, "masked_passes": 4}
    assert model.card.networks[CLASSIFIER].config == {"patch": 4, "width": 12, "depth": 2, "heads": 3}


def test_a_run_scores_slices_and_the_case_and_has_a_heatmap_and_no_mask(mae: Path, model: Model) -> None:
    image = first_volume(mae)
    result, steps = run(model, image)
    assert [step.phase for step in steps] == ["reconstruct"] * 4 + ["classify"] and steps[0].expected_total == 5
    assert set(result.layers) == {"heatmap", "reconstruction"}
    scores = result.slice_scores
    assert scores is not None and result.case_score == max(scores) and all(0 <= score <= 1 for score in scores)
    heatmap = result.array("heatmap")
    assert heatmap is not None and heatmap.shape == image.array.shape and not heatmap[~result.brain].any()
    again, _ = run(model, image)
    assert again.slice_scores == scores
    # More passes average more.
    assert len(run(model, image, masked_passes=2)[1]) == 3


def test_a_brain_larger_than_the_grid_is_made_to_fit(mae: Path, model: Model) -> None:
    image = first_volume(mae)
    affine = np.diag([8.0, 8.0, 8.0, 1.0])
    larger = Case.of(Image(image.array, affine, "larger"), Image((image.array > 0).astype(np.uint8), affine, "brain"))
    result, _ = run(model, larger)
    assert any("larger than the grid" in warning for warning in result.warnings)
    assert result.layers["heatmap"].read().shape == image.array.shape
