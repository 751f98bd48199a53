"""Skull strippings side by side: on whole heads, and on known brains in a borrowed head.

    python -m benchmarks.skull_stripping DATA [--csv FILE]

DATA as of `itermask3d evaluate`, with `heads/` (whole-head T1w). The built-in skull stripping and every tool that is
installed. No true mask of the heads is known, so there the strippings are compared with each other. For true masks,
stripped brains (three of each healthy cohort, never its test brains, and the T1 of each tumour) are put into the first
head: affinely, through the bundled template, at its brightness, where the brain that it had (what any of the
strippings took for it, and 3 mm around) was replaced by fluid. Such a head is artificial: its brain has the outline
of the mask that it was published with, and no meninges.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.agreement import dice
from IterMask3DLib.core.geometry import Affine
from IterMask3DLib.core.image import BoolVolume, FloatVolume, Image
from IterMask3DLib.evaluation.cases import read_cohort
from IterMask3DLib.evaluation.metrics import surface_distances
from IterMask3DLib.preprocessing.labelled import find_labelled
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.preprocessing.registration import template_to_brain
from IterMask3DLib.preprocessing.skull_stripping import find_brain, stripped_brain
from IterMask3DLib.preprocessing.stripping_tools import TOOLS

Row = dict[str, Any]

BUILT_IN = "built-in"
BRAINS = 3
EMPTIED_MM = 3.0
FLUID_PERCENTILE = 5.0


def strippings() -> list[str]:
    """The choices that can be made here."""
    return [BUILT_IN, *(tool.choice for tool in TOOLS if tool.is_installed())]


def brains_by(choices: list[str], head: Image) -> Iterator[tuple[str, BoolVolume, float]]:
    """The brain of a head by each choice, and the processor seconds it took."""
    for choice in choices:
        begun = time.process_time()
        found = find_brain(head, choice=choice)
        if found.source not in (BUILT_IN, "tool") or found.warnings:
            print(f"{head.name}, {choice}: {found.description}; {' '.join(found.warnings)}", flush=True)
        yield choice, found.array, time.process_time() - begun


def whole_head(head: Image, masks: Mapping[str, BoolVolume]) -> Iterator[Row]:
    """Volume of each mask, and agreement of each pair."""
    for choice, mask in masks.items():
        yield {"head": head.name, "by": choice, "ml": mask.sum() * head.voxel_ml}
    for one, other in combinations(masks, 2):
        apart, _ = surface_distances(masks[one], masks[other], masks[one], head.spacing)
        agreement = {"dice": dice(masks[one], masks[other]), "surface_mm": apart}
        yield {"head": head.name, "by": f"{one} and {other}", **agreement}


class BorrowedHead:
    """A head whose brain gives way to others. `brain`: what it had, bool [i, j, k]."""

    def __init__(self, head: Image, brain: BoolVolume) -> None:
        self._head, self._to_head = head, template_to_brain(head, brain)
        inside = head.array[brain]
        self._typical, fluid = float(np.median(inside)), float(np.percentile(inside, FLUID_PERCENTILE))
        emptied = ndimage.distance_transform_edt(~brain, sampling=head.spacing) <= EMPTIED_MM
        noise = np.random.default_rng(0).normal(fluid, fluid / 4, head.array.shape)
        self._empty = np.where(emptied, np.maximum(noise, 0), head.array).astype(np.float32)

    def __call__(self, image: Image, brain: BoolVolume, lesion: BoolVolume | None) -> tuple[Image, list[BoolVolume]]:
        """The head with another brain, where that is now, and where its lesion is, if it has one."""
        moved = self._to_head @ np.linalg.inv(template_to_brain(image, brain)) @ image.affine
        to_brain = np.linalg.inv(moved) @ self._head.affine
        share = self._placed(brain, to_brain)
        values = self._placed(np.where(brain, image.array, 0), to_brain)
        scale = self._typical / float(np.median(image.array[brain]))
        array = scale * values + (1 - share) * self._empty
        wheres = [share >= 0.5, *([] if lesion is None else [self._placed(lesion, to_brain) >= 0.5])]
        return replace(self._head, array=array, name=image.name), wheres

    def _placed(self, array: NDArray[Any], to_brain: Affine) -> FloatVolume:
        values, shape = array.astype(np.float32), self._head.array.shape
        return np.asarray(ndimage.affine_transform(values, to_brain[:3, :3], to_brain[:3, 3], shape, order=1))


def known_brains(data: Path) -> Iterator[tuple[str, Image, BoolVolume, BoolVolume | None]]:
    """Cohort, volume, its brain, and its lesion where it has one."""
    cohorts = {"ixi": read_cohort(data / "ixi")["val"], "ds002748": sorted((data / "ds002748").rglob("*_T1w.nii.gz"))}
    for cohort, files in cohorts.items():
        for file in files[:BRAINS]:
            image = read_image(file)
            yield cohort, image, _brain_of(image), None
    for files in find_labelled(data / "tumours", ("T1w",)):
        image = read_image(files.images["T1w"])
        yield "tumours", image, _brain_of(image), read_image(files.label).array > 0


def _brain_of(image: Image) -> BoolVolume:
    brain = stripped_brain(image)
    assert brain is not None, f"{image.label} is not stripped"
    return brain


def known_mask(head: Image, choice: str, found: BoolVolume, wheres: list[BoolVolume]) -> Row:
    """How a mask agrees with the true one."""
    true, ml = wheres[0], head.voxel_ml
    row = {"head": head.name, "by": choice, "ml": found.sum() * ml, "dice": dice(found, true)}
    row["surface_mm"], _ = surface_distances(found, true, true, head.spacing)
    row |= {"lost_ml": (true & ~found).sum() * ml, "extra_ml": (found & ~true).sum() * ml}
    if len(wheres) > 1:
        row["lesion_lost_percent"] = 100 * (wheres[1] & ~found).sum() / wheres[1].sum()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--csv", type=Path, help="also write every row there")
    options = parser.parse_args()
    choices, rows, borrowed = strippings(), [], None
    for file in sorted((options.data / "heads").glob("*.nii.gz")):
        head, masks = read_image(file), {}
        for choice, mask, seconds in brains_by(choices, head):
            masks[choice] = mask
            print(f"{head.name}, {choice}: {seconds:.1f} s of the processor", flush=True)
        rows += [_told({"set": "heads", **row}) for row in whole_head(head, masks)]
        borrowed = borrowed or BorrowedHead(head, np.any(list(masks.values()), axis=0))
    assert borrowed is not None, f"{options.data / 'heads'} holds no head"
    for cohort, image, brain, lesion in known_brains(options.data):
        head, wheres = borrowed(image, brain, lesion)
        for choice, mask, _ in brains_by(choices, head):
            rows.append(_told({"set": cohort, **known_mask(head, choice, mask, wheres)}))
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
            writer.writeheader()
            writer.writerows(rows)


def _told(row: Row) -> Row:
    row = {
        name: round(float(value), 4) if isinstance(value, (float, np.floating)) else value
        for name, value in row.items()
    }
    print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return row


if __name__ == "__main__":
    main()
