"""Artefacts beside numbers of the published code (its own TorchIO version), their formulas, and on other grids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Image
from IterMask3DLib.evaluation import artefacts
from IterMask3DLib.evaluation.artefacts import KINDS, SEVERITIES, Artefact, corrupt, noisy_slice
from Testing.brains import phantom

GOLDEN = json.loads((Path(__file__).parent / "golden" / "artefacts.json").read_text(encoding="utf-8"))
VOLUME = np.load(Path(__file__).parents[1] / "methods" / "golden" / "vol32.npy")
BRAIN = VOLUME > -3
MM = (1.0, 1.0, 1.0)


def assert_golden(changed: np.ndarray, name: str) -> None:
    wanted = GOLDEN[name]
    for figure, function in (("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
        assert function(changed) == pytest.approx(wanted[figure], abs=1e-4), figure
    for place in ((16, 16, 16), (20, 14, 16), (3, 4, 5)):
        assert changed[place] == pytest.approx(wanted[str(list(place))], abs=1e-4), place


def disc() -> np.ndarray:
    i, j = np.meshgrid(np.arange(192), np.arange(192), indexing="ij")
    return np.where(
        ((i - 95.5) / 70) ** 2 + ((j - 95.5) / 60) ** 2 <= 1, 1 + 0.5 * np.sin(0.1 * i) * np.cos(0.08 * j), -3
    )


def volume() -> tuple[Image, np.ndarray]:
    array, affine = phantom()
    return Image(array, affine, "phantom"), array > 0


def test_spike_and_bias_field_are_the_published_ones() -> None:
    assert_golden(artefacts.spike(VOLUME, BRAIN, MM, Artefact("spike")), "spike")
    pytest.importorskip("torchio")
    assert_golden(artefacts.bias_field(VOLUME, BRAIN, MM, Artefact("bias_field")), "bias")


def test_ghosting_is_the_published_one_but_keeps_the_mean_on_every_grid() -> None:
    torchio = pytest.importorskip("torchio")
    published = torchio.Ghosting(num_ghosts=4, axis=1, intensity=2.0, restore=0.01)(VOLUME[None])[0]
    assert_golden(np.asarray(published), "ghosting_32")
    ours = artefacts.ghosting(VOLUME, BRAIN, MM, Artefact("ghosting"))
    assert ours.mean() == pytest.approx(VOLUME.mean(), abs=1e-5)
    spectrum, before = (np.fft.fftshift(np.fft.fftn(array)) for array in (ours, VOLUME))
    ratio = (spectrum / before).real[16, :, 16]
    # Every fourth plane turns over, but for the two in the middle.
    assert {p for p in range(32) if ratio[p] < -0.9} == {0, 4, 8, 12, 20, 24, 28}


def test_kspace_noise_of_a_slice_is_the_published_one_draw_for_draw() -> None:
    class Published:
        """The generator of the published code, in the place of ours."""

        def __init__(self) -> None:
            self.draws = np.random.RandomState(0)

        def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
            return self.draws.uniform(low, high, shape)

    picture = disc()
    noisy = noisy_slice(picture, 0.003, Published())
    wanted = GOLDEN["noise_slice192"]
    assert (noisy - picture).std() == pytest.approx(wanted["diff_std"], rel=1e-9)
    assert noisy[95, 95] == pytest.approx(wanted["[95, 95]"]) and noisy[40, 120] == pytest.approx(wanted["[40, 120]"])


def test_kspace_noise_is_as_strong_on_a_coarser_grid() -> None:
    fine = np.repeat(disc()[:, :, None], 2, axis=2).astype(np.float32)
    coarse = fine[::2, ::2]
    spread = [
        float((artefacts.kspace_noise(a, a > -3, MM, Artefact("kspace_noise")) - a).std()) for a in (fine, coarse)
    ]
    assert spread[0] == pytest.approx(0.367, rel=0.02)
    assert spread[1] == pytest.approx(spread[0], rel=0.05)


def test_the_zipper_lies_in_the_published_columns() -> None:
    picture = np.repeat(disc()[:, :, None], 2, axis=2).astype(np.float32)
    changed = artefacts.zipper(picture, picture > -3, MM, Artefact("zipper"))
    columns = np.flatnonzero((changed != picture).any(axis=(0, 2)))
    assert list(columns) == GOLDEN["zipper_slice192"]["changed_cols"]
    assert changed.min() >= picture.min() and changed.max() <= picture.max()


def test_chunks_are_30_mm_on_every_grid() -> None:
    brain = np.zeros((20, 100, 20), bool)
    brain[5:15, 10:90, 5:15] = True
    values = np.where(brain, 1.0, -3.0).astype(np.float32)
    for spacing, count in (((1.0, 1.0, 1.0), 30), ((2.0, 2.0, 2.0), 15)):
        for kind, first in (("top_chunk", 10), ("middle_chunk", 50 - count // 2)):
            changed = KINDS[kind](values, brain, spacing, Artefact(kind))
            gone = np.flatnonzero((changed != values).any(axis=(0, 2)))
            assert (len(gone), changed[:, gone].max()) == (count, -3.0)
            assert abs(int(gone[0]) - first) <= 1, kind


@pytest.mark.parametrize("kind", KINDS)
def test_severity_strengthens_the_seed_repeats_and_the_background_stays(kind: str) -> None:
    pytest.importorskip("torchio")
    healthy, brain = volume()
    spread = []
    for severity in (0.0, *SEVERITIES.values()):
        changed = corrupt(healthy, brain, Artefact(kind, severity, seed=4))
        again = corrupt(healthy, brain, Artefact(kind, severity, seed=4))
        np.testing.assert_array_equal(changed.array, again.array)
        assert not changed.array[~brain].any()
        spread.append(float(np.abs(changed.array - healthy.array)[brain].mean()))
    assert spread == sorted(spread) and spread[1] > 0.5
    if kind != "zipper":  # its bands are one voxel wide at least
        assert spread[0] < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_an_artefact_does_not_depend_on_how_the_axes_are_stored(kind: str) -> None:
    pytest.importorskip("torchio")
    healthy, brain = volume()
    affine = healthy.affine[:, [1, 0, 2, 3]] @ np.diag([-1.0, 1, 1, 1])
    affine[:3, 3] = healthy.affine[:3, 3]
    affine[1, 3] += 4.0 * (healthy.array.shape[1] - 1)
    stored = Image(healthy.array.swapaxes(0, 1)[::-1], affine, "stored")
    straight = corrupt(healthy, brain, Artefact(kind)).array
    turned = corrupt(stored, brain.swapaxes(0, 1)[::-1], Artefact(kind)).array
    np.testing.assert_allclose(turned[::-1].swapaxes(0, 1), straight, atol=1e-2)


def test_a_missing_torchio_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchio", None)
    healthy, brain = volume()
    with pytest.raises(UserError, match=r"pip install itermask3d\[evaluate\]"):
        corrupt(healthy, brain, Artefact("ghosting"))
