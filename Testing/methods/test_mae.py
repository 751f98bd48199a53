"""The masked auto-encoder: its networks, losses and pseudo-anomalies have the published numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.errors import UserError
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
from IterMask3DLib.runtime.device import Device
from IterMask3DLib.runtime.runner import Runtime
from Testing.methods.published import GOLDEN, fill_published, published_slices
from Testing.methods.slice_methods import MAE

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
        ({"inputs": ("T1w", "T2w")}, "takes one input, not 2"),
        ({"grid": CardGrid(4.0, (48, 48, 48))}, "needs a 2D grid"),
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


def convert(folder: Path, *checkpoints: Path, **options: Any) -> ModelCard:
    """As the command line does it."""
    return find_method("mae").load().convert(list(checkpoints), folder, {"inputs": ("T1w",), **options})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return MAE.checkpoints(tmp_path_factory.mktemp("checkpoints"))


def test_a_grid_of_as_many_patches_can_be_chosen(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    card = convert(tmp_path / "model", *checkpoints.values())
    assert card.grid.shape == (64, 64) and card.grid.spacing == pytest.approx(240 / 224)
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
