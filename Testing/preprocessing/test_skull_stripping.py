"""The brain mask: which way is taken, and what is said of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import bounding_box
from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.request import STRIPPINGS, Request
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.preprocessing.skull_stripping import find_brain, stripped_brain
from IterMask3DLib.preprocessing.stripping_tools import TOOLS, CommandTool, Deepbet
from IterMask3DLib.run import CaseRun
from Testing.brains import data_file, phantom


def head() -> Image:
    """A phantom brain in a noisy head with skull and scalp: nothing in it is exactly constant."""
    array, affine = phantom()
    i, j, k = (np.indices(array.shape) - (np.array(array.shape) - 1)[:, None, None, None] / 2) * 4
    radius = np.sqrt((i / 66) ** 2 + (j / 84) ** 2 + (k / 62) ** 2)
    noise = np.random.default_rng(0).uniform(1, 20, array.shape)
    scalp = (radius > 1.14) & (radius < 1.22)
    return Image(np.where(array > 0, array, np.where(scalp, 330, 0)) + noise, affine, "head")


def command_tool(choice: str, **more: object) -> CommandTool:
    """A tool of the list that is a command, installed as /opt/COMMAND."""
    tool = next(tool for tool in TOOLS if tool.choice == choice)
    assert isinstance(tool, CommandTool)
    return replace(tool, which=lambda command: f"/opt/{command}", **more)


MISSING = tuple(replace(tool, which=lambda command: None) for tool in TOOLS if isinstance(tool, CommandTool))


class StandIn:
    """The interface of deepbet 1.0.2; whatever is above 320 is brain."""

    def __init__(self, no_gpu: bool) -> None:
        assert no_gpu

    def run(self, image: nib.Nifti1Image) -> tuple[None, nib.Nifti1Image, float]:
        values = image.get_fdata()
        if values.max() > 1000:
            raise AssertionError("Not enough foreground")
        return None, nib.Nifti1Image((values > 320).astype(np.uint8), image.affine), 0.0


def test_a_given_mask_comes_first() -> None:
    array, affine = phantom()
    given = Image((array > 320).astype(np.uint8), affine, "mask", "folder/mask.nii.gz")
    found = find_brain(Image(array, affine, "scan"), given)
    np.testing.assert_array_equal(found.array, array > 320)
    assert found.source == "given" and "mask.nii.gz" in found.description


def test_a_stripped_volume_is_recognised_and_its_holes_are_filled() -> None:
    array, affine = phantom()
    holed = array.copy()
    holed[18:21, 22:25, 18:21] = 0
    found = find_brain(Image(holed, affine, "scan"))
    assert found.source == "stripped" and not found.warnings
    np.testing.assert_array_equal(found.array, array > 0)
    assert found.millilitres == pytest.approx((array > 0).sum() * 0.064)
    assert found.box == bounding_box(array > 0)


@pytest.mark.parametrize("order", ["C", "F"])
def test_holes_are_those_that_no_way_of_faces_connects_to_the_outside(order: str) -> None:
    """What scipy's routine fills over the whole volume, on a brain that is all holes and touches the border."""
    rng = np.random.default_rng(3)
    array = np.asarray(rng.random((30, 34, 28)) > 0.35, order=order).astype(np.int16)
    array[np.ix_((0, -1), (0, -1), (0, -1))] = 0
    found = stripped_brain(Image(array, np.diag([3.0, 3.0, 3.0, 1.0]), "scan"))
    assert found is not None
    np.testing.assert_array_equal(found, ndimage.binary_fill_holes(array))


def test_a_stripped_volume_may_have_another_background_than_zero() -> None:
    array, affine = phantom()
    found = find_brain(Image(np.where(array > 0, array / 100.0, -3.0), affine, "scan"))
    np.testing.assert_array_equal(found.array, array > 0)


def test_a_head_whose_air_is_zero_is_not_taken_for_a_stripped_brain() -> None:
    whole = head()
    i, j, k = (np.indices(whole.array.shape) - (np.array(whole.array.shape) - 1)[:, None, None, None] / 2) * 4
    inside = (i / 80) ** 2 + (j / 102) ** 2 + (k / 78) ** 2 <= 1
    airless = Image(np.where(inside, whole.array, 0), whole.affine, "head")
    assert find_brain(airless, tools=()).source == "built-in"


def test_the_built_in_skull_stripping_finds_the_brain_in_a_head() -> None:
    found = find_brain(head(), tools=())
    brain = phantom()[0] > 0
    assert found.source == "built-in"
    assert (found.array & brain).sum() / brain.sum() > 0.95
    assert 2 * (found.array & brain).sum() / (found.array.sum() + brain.sum()) > 0.75


@pytest.mark.parametrize(
    ("choice", "name", "command", "mask_name"),
    [
        ("hd-bet", "HD-BET", "hd-bet", "brain_bet.nii.gz"),
        ("synthstrip", "SynthStrip", "mri_synthstrip", "mask.nii.gz"),
    ],
)
@pytest.mark.parametrize("is_chosen", [True, False])
def test_an_installed_tool_is_called(choice: str, name: str, command: str, mask_name: str, is_chosen: bool) -> None:
    array, affine = phantom()

    def run(arguments: Sequence[str]) -> None:
        assert arguments[0] == f"/opt/{command}"
        image = Path(next(a for a in arguments if a.endswith("image.nii.gz")))
        np.testing.assert_allclose(read_image(image).array, head().array, rtol=1e-5)
        write_nifti(array > 0, affine, image.with_name(mask_name))

    tools = (*(tool for tool in MISSING if tool.choice != choice), command_tool(choice, run=run))
    found = find_brain(head(), choice=choice if is_chosen else "auto", tools=tools)
    assert found.source == "tool" and name in found.description
    np.testing.assert_array_equal(found.array, array > 0)


def test_a_tool_that_fails_is_told_and_the_built_in_skull_stripping_takes_over() -> None:
    def run(arguments: Sequence[str]) -> None:
        raise subprocess.CalledProcessError(1, list(arguments))

    found = find_brain(head(), tools=[command_tool("hd-bet", run=run)])
    assert found.source == "built-in" and "HD-BET is installed but failed" in found.warnings[0]


def test_every_tool_can_be_chosen() -> None:
    assert tuple(tool.choice for tool in TOOLS) == STRIPPINGS[1:-1]


def test_a_tool_that_is_chosen_and_not_installed_is_told_in_one_sentence() -> None:
    with pytest.raises(UserError, match=r"^SynthStrip is not installed .*mri_synthstrip.*or choose another\.$"):
        find_brain(head(), choice="synthstrip", tools=MISSING)


def test_the_choice_of_a_run_reaches_the_skull_stripping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepbet", None)
    with pytest.raises(
        UserError, match=r"^deepbet is not installed \(pip install deepbet\); install it or choose another\.$"
    ):
        CaseRun.of(Case.of(head()), load_model(find_model(None)), Request(skull_stripping="deepbet"))


def test_the_built_in_skull_stripping_can_be_chosen_beside_a_tool() -> None:
    def run(arguments: Sequence[str]) -> None:
        raise AssertionError("not to be called")

    assert find_brain(head(), choice="built-in", tools=[command_tool("hd-bet", run=run)]).source == "built-in"


def test_deepbet_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("deepbet")
    module.__spec__, module.BrainExtraction = ModuleSpec("deepbet", None), StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "deepbet", module)
    volume = head()
    found = find_brain(volume, tools=(*MISSING, Deepbet()))
    assert found.source == "tool" and found.description == "by deepbet"
    np.testing.assert_array_equal(found.array, volume.array > 320)
    with pytest.raises(UserError, match="Not enough foreground"):
        Deepbet().mask(replace(volume, array=volume.array * 10))


@pytest.mark.skipif(find_spec("deepbet") is None, reason="deepbet is not installed: pip install deepbet")
def test_deepbet_and_the_built_in_skull_stripping_agree_on_a_real_head() -> None:
    volume = read_image(data_file("heads", "head_a_T1w.nii.gz"))
    found, built_in = find_brain(volume, choice="deepbet"), find_brain(volume, choice="built-in")
    assert found.description == "by deepbet" and not found.warnings
    both = (found.array & built_in.array).sum()
    assert 2 * both / (found.array.sum() + built_in.array.sum()) > 0.92


def test_a_mask_that_cannot_be_a_brain_is_told() -> None:
    array, affine = phantom()
    small, parts = np.zeros(array.shape, np.uint8), np.zeros(array.shape, np.uint8)
    small[15:25, 15:25, 15:25] = 1
    parts[5:18, 10:38, 10:30] = parts[22:35, 10:38, 10:30] = 1
    volume = Image(array, affine, "scan")
    assert "64 ml" in find_brain(volume, Image(small, affine, "m")).warnings[0]
    assert any("2 large separate parts" in w for w in find_brain(volume, Image(parts, affine, "m")).warnings)


def test_an_empty_mask_is_refused() -> None:
    array, affine = phantom()
    with pytest.raises(UserError, match="no brain was found"):
        find_brain(Image(array, affine, "scan"), Image(np.zeros(array.shape, np.uint8), affine, "m", "m.nii"))


@pytest.mark.parametrize("name", ["head_a_T1w.nii.gz", "head_b_T1w.nii.gz"])
def test_real_heads_are_stripped(name: str) -> None:
    volume = read_image(data_file("heads", name))
    found = find_brain(volume, tools=())
    assert found.source == "built-in" and not found.warnings
    assert 1300 < found.millilitres < 1800
    # Scalp and air are outside, the deep white matter is inside.
    values = volume.array[found.array]
    assert np.mean(values < 0.15 * np.median(values)) < 0.12


def test_real_stripped_brains_are_recognised() -> None:
    for parts in (("open_ms", "patient07", "patient07_T1.nii.gz"), ("ds002748", "sub-01", "anat", "sub-01_T1w.nii.gz")):
        volume = read_image(data_file(*parts))
        found = find_brain(volume)
        assert found.source == "stripped" and not found.warnings
        assert (found.array | (volume.array == 0)).all()
