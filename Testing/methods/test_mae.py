"""The masked auto-encoder: its networks, losses and pseudo-anomalies have the published numbers; training and runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from IterMask3DLib.cli import main
from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import CaseResult, Step
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.mae.loss import patch_loss
from IterMask3DLib.methods.mae.network import (
    AUTOENCODER,
    CLASSIFIER,
    MaskedAutoEncoder,
    MaskedPass,
    ResidualClassifier,
    Sizes,
    built,
    networks_of,
    pasted,
    patches_of,
    slices_of,
)
from IterMask3DLib.methods.mae.pseudo_anomalies import box_factors
from IterMask3DLib.methods.mae.reconstruction import degraded, with_noise
from IterMask3DLib.methods.mae.settings import MAETrainingSettings
from IterMask3DLib.methods.mae.training import MAETask
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import finish, run_case
from IterMask3DLib.runtime.device import Device
from IterMask3DLib.runtime.runner import Runtime
from Testing.launcher import launch
from Testing.methods.published import GOLDEN, fill_published, published_slices
from Testing.training.toys import column, flat_cohort, same

NUMBERS: dict[str, Any] = json.loads((GOLDEN / "mae.json").read_text(encoding="utf-8"))
SMALL = NUMBERS["small"]
PUBLISHED = MAETrainingSettings(
    patch=16, width=768, depth=12, heads=12, decoder_width=512, decoder_depth=8, decoder_heads=16
)


def small() -> MaskedAutoEncoder:
    """The recipe's network."""
    network = MaskedAutoEncoder(Sizes((64, 64), 16, 96, 2, 3), Sizes((64, 64), 16, 64, 1, 4))
    fill_published(network)
    return network


def recipe_noise() -> torch.Tensor:
    token = torch.arange(32).reshape(2, 16)
    return ((37 * token) % 32) / 32


def test_the_published_state_dict_has_its_names_shapes_types_and_order() -> None:
    with torch.device("meta"):
        network = built((224, 224), PUBLISHED)[AUTOENCODER]
    rows = [line.split("\t") for line in (GOLDEN / "keys_mae_b16_224.tsv").read_text(encoding="utf-8").splitlines()]
    ours = [
        [name, "x".join(map(str, tensor.shape)), str(tensor.dtype).removeprefix("torch.")]
        for name, tensor in network.state_dict().items()
    ]
    wanted = NUMBERS["mae_b16_224"]
    assert ours == rows and len(rows) == wanted["entries"]
    assert sum(each.numel() for each in network.parameters() if each.requires_grad) == wanted["trainable"]
    assert sum(each.numel() for each in network.parameters()) == wanted["all"]


def test_the_published_classifier_has_its_parameters_and_begins_with_the_encoder() -> None:
    with torch.device("meta"):
        published, wanted = built((224, 224), PUBLISHED)[CLASSIFIER], NUMBERS["vit_b16_cls"]
    assert sum(each.numel() for each in published.parameters()) == wanted["params"]
    assert [name for name in published.state_dict() if not name.startswith("blocks.")] == wanted["keys"]
    networks = built((32, 32), MAETrainingSettings())
    classifier = networks[CLASSIFIER]
    assert isinstance(classifier, ResidualClassifier) and isinstance(networks[AUTOENCODER], MaskedAutoEncoder)
    own = classifier.state_dict()
    encoder = networks[AUTOENCODER].state_dict()
    # What it does not share with the encoder.
    assert {name for name in own if name not in encoder} == {
        "fc_norm.weight",
        "fc_norm.bias",
        "head.weight",
        "head.bias",
    }
    classifier.begin_with(networks[AUTOENCODER])
    assert all(torch.equal(classifier.state_dict()[name], encoder[name]) for name in own if name in encoder)
    assert 0 < own["head.weight"].abs().max() < 1e-3


def test_positions_have_the_published_numbers() -> None:
    network = small()
    assert sum(each.numel() for each in network.parameters()) == SMALL["params"]
    assert network.pos_embed[0, 1, :4].tolist() == SMALL["pos_embed[0,1,:4]"]
    places = [0, 24, 48, 72, 95]
    assert network.pos_embed[0, 6, places].tolist() == pytest.approx(SMALL["pos_embed[0,6,[0,24,48,72,95]]"], abs=1e-6)


def test_a_masked_pass_and_its_losses_have_the_published_numbers() -> None:
    network, slices, noise = small(), published_slices(64, 1), recipe_noise()
    with torch.inference_mode():
        predicted, hidden = network(slices, noise, 0.75)
        image = MaskedPass(network, 0.75)(with_noise(slices, noise, (4, 4)))
        more = network(slices, noise, 0.85)[1]
    assert hidden[0].tolist() == SMALL["noise_order_mask0"] and hidden[1].tolist() == SMALL["mask1"]
    assert more.sum(dim=1).tolist() == SMALL["masked_tokens_085"]
    target = patches_of(slices, 16)
    assert float(patch_loss(predicted, target, hidden)) == pytest.approx(SMALL["loss"], abs=1e-5)
    everywhere = patch_loss(predicted, target, hidden, everywhere=True)
    assert float(everywhere) == pytest.approx(SMALL["loss_all_tokens"], abs=1e-5)
    assert float(patch_loss(predicted, target, hidden, normalised=True)) == pytest.approx(
        SMALL["loss_normpix"], abs=1e-5
    )
    points = {"[0,0,0]": (0, 0, 0), "[0,5,100]": (0, 5, 100), "[1,15,255]": (1, 15, 255)}
    found = {"mean": predicted.mean(), "std": predicted.std(), **{key: predicted[at] for key, at in points.items()}}
    assert {key: float(each) for key, each in found.items()} == pytest.approx(SMALL["pred"], abs=1e-5)
    whole = {
        "mean": image.mean(),
        "std": image.std(),
        "[0,0,3,3]": image[0, 0, 3, 3],
        "[1,0,40,20]": image[1, 0, 40, 20],
    }
    assert {key: float(each) for key, each in whole.items()} == pytest.approx(SMALL["paste"], abs=1e-5)


def test_what_was_shown_stays_and_patches_go_back_to_their_places() -> None:
    slices = torch.arange(2 * 32 * 48, dtype=torch.float32).reshape(2, 1, 32, 48)
    patches = patches_of(slices, 8)
    assert patches.shape == (2, 24, 64)
    # Row by row, and pixel by pixel within a patch.
    torch.testing.assert_close(patches[0, 7], slices[0, 0, 8:16, 8:16].flatten())
    torch.testing.assert_close(slices_of(patches, (32, 48), 8), slices)
    hidden = torch.zeros(2, 24)
    hidden[:, 7] = 1
    other = pasted(slices, -torch.ones_like(patches), hidden, 8)
    changed = other != slices
    assert changed[:, :, 8:16, 8:16].all() and int(changed.sum()) == 2 * 64


def test_openvino_gives_the_same() -> None:
    pytest.importorskip("openvino")
    network, given = small(), with_noise(published_slices(64, 1), recipe_noise(), (4, 4))
    one, other = (
        Runtime(Device("cpu"), backend).runner(network, lambda each: MaskedPass(each, 0.75))(given)
        for backend in ("pytorch", "openvino")
    )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


class LegacyDraws:
    """NumPy's old random numbers, which the recipe was made with."""

    def __init__(self, seed: int) -> None:
        self._numbers = np.random.RandomState(seed)

    def integers(self, low: int, high: int) -> Any:
        return self._numbers.randint(low, high)

    def random(self) -> float:
        return float(self._numbers.random_sample())


@pytest.mark.parametrize(
    ("key", "side", "sides"), [("pseudo_brats", 224, (10, 40)), ("pseudo_luna16_unnorm", 64, (5, 12))]
)
def test_pseudo_anomalies_have_the_published_numbers(key: str, side: int, sides: tuple[int, int]) -> None:
    wanted = NUMBERS[key]
    i, j = np.indices((side, side))
    image = (1 + 0.5 * np.sin(0.05 * i) * np.cos(0.04 * j)).astype(np.float32)
    changed = image * box_factors(image.shape, sides, LegacyDraws(7))
    assert int((changed != image).sum()) == wanted["changed_pixels"]
    assert np.abs(changed - image).sum(dtype=np.float64) == pytest.approx(wanted["sum_abs_diff"], rel=1e-6)
    assert changed.mean(dtype=np.float64) == pytest.approx(wanted["out_mean"], rel=1e-6)
    areas = [(box_factors(image.shape, sides, np.random.default_rng(seed)) < 1).mean() for seed in range(400)]
    assert np.mean(areas) == pytest.approx(wanted["changed_fraction_mean_2000"], rel=0.1)


def test_a_box_counts_intensities_from_the_background_and_touches_the_brain() -> None:
    reconstruction = torch.tensor([[[[-3.0, 3.0]]]])
    torch.testing.assert_close(degraded(reconstruction, torch.full((1, 1, 1, 2), 0.5)), torch.tensor([[[[-3.0, 0.0]]]]))
    brain = np.zeros((32, 32), dtype=bool)
    brain[3:6, 3:6] = True
    task = MAETask(card_of_size(32), MAETrainingSettings(smallest_box_mm=6, largest_box_mm=20))
    for seed in range(20):
        assert (task._factors(brain, 2.0, np.random.default_rng(seed))[brain] < 1).any()


def card_of_size(side: int, **changes: Any) -> ModelCard:
    networks = {name: NetworkEntry("model.safetensors", f"{name}.") for name in (AUTOENCODER, CLASSIFIER)}
    return replace(ModelCard("toy", "Toy", "mae", ("T1w",), CardGrid(4.0, (side, side)), networks), **changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"networks": {}}, "must hold masked_autoencoder and classifier and nothing else"),
        ({"inputs": ("T1w", "T2w")}, "slices of one input"),
        ({"grid": CardGrid(4.0, (48, 48, 48))}, "slices of one input"),
        ({"grid": CardGrid(4.0, (36, 36), 4)}, "multiples of its patches of 8"),
    ],
)
def test_a_card_that_makes_no_networks_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        networks_of(card_of_size(48, **change))


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"width": 90}, "width is 90"), ({"decoder_heads": 5}, "decoder_width is 64"), ({"smallest_box_mm": 80}, "above")],
)
def test_sizes_that_do_not_go_together_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(MAETrainingSettings(), **settings).check("test")


def test_a_patch_that_does_not_fit_the_grid_is_refused() -> None:
    with pytest.raises(UserError, match="patch is 5; it must divide 16"):
        MAETask(card_of_size(48), replace(MAETrainingSettings(), patch=5))


def test_the_blocks_in_front_learn_slower_and_vectors_do_not_decay() -> None:
    task = MAETask(card_of_size(16), MAETrainingSettings(depth=2))
    networks = built((16, 16), MAETrainingSettings(depth=2))
    optimiser = task.optimiser(CLASSIFIER, {CLASSIFIER: networks[CLASSIFIER]}, 1e-3)
    places = {id(parameter): name for name, parameter in networks[CLASSIFIER].named_parameters()}
    found = {
        places[id(parameter)]: (group["scale"], group["weight_decay"])
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    assert found["head.weight"] == (1.0, 0.05) and found["head.bias"] == (1.0, 0.0)
    assert found["blocks.1.mlp.fc1.weight"] == (0.75, 0.05) and found["blocks.0.norm1.bias"] == (0.75**2, 0.0)
    assert found["pos_embed"][0] == found["patch_embed.proj.weight"][0] == 0.75**3
    assert len(found) == len(places)


TRAINING = (
    *("--method", "mae", "--spacing", 8, "--patch", 4, "--width", 12, "--depth", 2, "--decoder-width", 8),
    *("--decoder-depth", 1, "--drop-path", 0, "--steps", 4, "--classifier-steps", 4, "--batch", 4, "--seed", 1),
    *("--precision", "fp32", "--schedule", "constant", "--validate-every", 4, "--checkpoint-every", 2),
    *("--log-every", 1, "--device", "cpu", "--workers", 1),
)


def train(folder: Path, out: Path, *more: object) -> None:
    """A training as the command line does it, with what was prepared for others."""
    words = ("train", folder / "data", "-o", out, *TRAINING, *more, "--cache", folder / "cache")
    assert main([str(word) for word in words]) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with healthy volumes and the run of a training on them."""
    folder = tmp_path_factory.mktemp("mae")
    flat_cohort(folder / "data", 3)
    train(folder, folder / "run")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder / "run" / "model")


def run(model: Model, image: Image | Case, **settings: Any) -> tuple[CaseResult, list[Step]]:
    case = image if isinstance(image, Case) else Case.of(image)
    steps: list[Step] = []

    def keep(event: object) -> None:
        if isinstance(event, Step):
            steps.append(event)

    return finish(run_case(case, model, Request(device="cpu", backend="pytorch", settings=settings)), keep), steps


def test_both_stages_learn_and_the_card_says_how(folder: Path, model: Model) -> None:
    for stage in (AUTOENCODER, CLASSIFIER):
        assert column(folder / "run" / stage / "losses.csv", "step") == [1, 2, 3, 4]
        assert (folder / "run" / stage / "pictures" / "step-0000004.png").exists()
    rates = column(folder / "run" / CLASSIFIER / "losses.csv", "learning_rate")
    assert rates[0] == pytest.approx(5e-4)
    figures = {figure.name: figure.value for figure in model.card.figures}
    assert 0 <= float(figures["slice AUROC, pseudo-anomalies"]) <= 1
    assert model.card.settings == {"mask_ratio": 0.75, "masked_passes": 4}
    assert model.card.networks[CLASSIFIER].config == {"patch": 4, "width": 12, "depth": 2, "heads": 3}


def test_stages_that_were_interrupted_go_on_to_the_same_weights(folder: Path, tmp_path: Path, capsys: Any) -> None:
    real, made = MAETask.loss, 0

    def stopped(self: MAETask, stage: str, networks: Any, batch: Any) -> torch.Tensor:
        nonlocal made
        made += stage == CLASSIFIER
        if made == 3:
            raise KeyboardInterrupt
        return real(self, stage, networks, batch)

    with patch.object(MAETask, "loss", stopped), pytest.raises(AssertionError):
        train(folder, tmp_path / "run")
    train(folder, tmp_path / "run")
    assert "classifier: going on from step 2" in capsys.readouterr().err
    assert all(same(tmp_path / "run" / stage, folder / "run" / stage) for stage in (AUTOENCODER, CLASSIFIER))


def test_two_processes_train_as_one(folder: Path, tmp_path: Path) -> None:
    done = launch("train", folder / "data", "-o", tmp_path / "two", *map(str, TRAINING), processes=2)
    assert done.returncode == 0, done.stderr
    for stage in (AUTOENCODER, CLASSIFIER):
        losses = [column(run / stage / "losses.csv", "loss") for run in (tmp_path / "two", folder / "run")]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_run_scores_slices_and_the_case_and_has_a_heatmap_and_no_mask(folder: Path, model: Model) -> None:
    image = read_image(folder / "data" / "c0.nii.gz")
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


def test_a_brain_larger_than_the_grid_is_made_to_fit_and_one_with_few_slices_refused(
    folder: Path, model: Model
) -> None:
    image = read_image(folder / "data" / "c0.nii.gz")
    affine = np.diag([8.0, 8.0, 8.0, 1.0])
    larger = Case.of(Image(image.array, affine, "larger"), Image((image.array > 0).astype(np.uint8), affine, "brain"))
    result, _ = run(model, larger)
    assert any("larger than the grid" in warning for warning in result.warnings)
    assert result.layers["heatmap"].read().shape == image.array.shape
    thin = Image(np.ascontiguousarray(image.array[:, :, 16:21]), image.affine, "thin")
    with pytest.raises(UserError, match=r"thin: the brain has \d slices of 8 mm and needs at least 5"):
        run(model, thin)


def test_several_channels_are_refused() -> None:
    with pytest.raises(UserError, match="learns from one modality, not from T1w, T2w"):
        MAETask(card_of_size(48, inputs=("T1w", "T2w")), MAETrainingSettings())


def convert(folder: Path, *checkpoints: Path, **options: Any) -> ModelCard:
    """As the command line does it."""
    return find_method("mae").load().convert(list(checkpoints), folder, {"inputs": ("T1w",), **options})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints with the published names, of networks with two blocks and heads as wide as there."""
    settings = replace(PUBLISHED, width=64, depth=2, heads=1, decoder_width=32, decoder_depth=1, decoder_heads=1)
    folder, found = tmp_path_factory.mktemp("checkpoints"), {}
    for name, network in built((64, 64), settings).items():
        found[name] = folder / f"{name}.pth"
        torch.save({"model": fill_published(network).state_dict(), "epoch": 1599}, found[name])
    return found


@pytest.mark.parametrize("order", [(AUTOENCODER, CLASSIFIER), (CLASSIFIER, AUTOENCODER)])
def test_published_checkpoints_load_unchanged_in_any_order(
    order: tuple[str, str], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    card = convert(tmp_path / "model", *(checkpoints[name] for name in order))
    model = load_model(tmp_path / "model")
    assert card == model.card and card.grid.shape == (64, 64) and card.grid.spacing == pytest.approx(240 / 224)
    for name, network in model.networks.items():
        state = torch.load(checkpoints[name], weights_only=True)["model"]
        assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())
    assert convert(tmp_path / "other", *checkpoints.values(), shape=(32, 128), spacing=2.0).grid.shape == (32, 128)


def test_what_makes_no_model_is_refused_and_writes_none(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    encoder, classifier = checkpoints[AUTOENCODER], checkpoints[CLASSIFIER]
    torch.save({"conv_1.conv.unit0.conv.weight": torch.zeros(2, 2, 3, 3, 3)}, tmp_path / "volumes.pt")
    state = torch.load(classifier, weights_only=True)["model"]
    torch.save({key: each for key, each in state.items() if key != "head.bias"}, tmp_path / "short.pt")
    torch.save({**state, "pos_embed": torch.zeros(1, 5, 64)}, tmp_path / "smaller.pt")
    cases: list[tuple[tuple[Path, ...], dict[str, Any], str]] = [
        ((encoder,), {}, "2 checkpoints are needed, masked_autoencoder and classifier; 1 given"),
        ((encoder, encoder), {}, "is a second masked_autoencoder"),
        ((encoder, tmp_path / "volumes.pt"), {}, "no checkpoint of a masked auto-encoder or its classifier"),
        ((encoder, tmp_path / "short.pt"), {}, "head.bias is missing"),
        ((encoder, tmp_path / "smaller.pt"), {}, "slices of different sizes"),
        ((encoder, classifier), {"shape": (64, 64, 64)}, "16 patches of 16 by 16 pixels"),
        ((encoder, classifier), {"shape": (80, 64)}, "16 patches of 16 by 16 pixels"),
        ((encoder, classifier), {"inputs": ("T1w", "T2w")}, "takes one input, not 2"),
    ]
    for paths, options, words in cases:
        with pytest.raises(UserError, match=words):
            convert(tmp_path / "model", *paths, **options)
    assert not (tmp_path / "model").exists()
