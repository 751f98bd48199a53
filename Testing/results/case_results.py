"""Results of cases that never ran: small, made by formulas, with numbers a test can work out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from IterMask3DLib.core.artifacts import MaskHistory, ThresholdCurve
from IterMask3DLib.core.geometry import Affine
from IterMask3DLib.core.image import BoolVolume, Case, Image
from IterMask3DLib.core.result import ANOMALY, HEATMAP, MASK, RECONSTRUCTION, CaseResult, Layer, Step

SHAPE = (24, 30, 20)


def oblique_affine() -> Affine:
    """Voxels of 1 x 1.5 x 3 mm, first axis to the patient's left, tilted by 20 degrees about it."""
    angle = np.deg2rad(20)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag([-1.0, 1.5, 3.0])
    affine[:3, 3] = [11.25, -20.125, -31.7]
    return affine


def curve() -> ThresholdCurve:
    """Thirty points of a tangent, the 21st chosen."""
    passes = np.arange(1, 31)
    fit = 0.1 * np.tan(0.05 * passes)
    return ThresholdCurve(fit + 0.001, fit, 0.005 / np.cos(0.05 * passes) ** 2, 0.98, True, 0.02, 20)


def a_case(name: str = "anna", source: str = "scans/anna.nii.gz") -> Case:
    """A box of a brain in whole numbers."""
    brain = np.zeros(SHAPE, dtype=bool)
    brain[3:21, 3:27, 3:17] = True
    array = np.where(brain, 100 + np.indices(SHAPE).sum(axis=0), 0).astype(np.int16)
    return Case(name, {"": Image(array, oblique_affine(), name, source)})


def an_anomaly() -> BoolVolume:
    """Two lesions of 24 voxels and of one."""
    anomaly = np.zeros(SHAPE, dtype=bool)
    anomaly[6:10, 10:13, 8:10] = True
    anomaly[18, 20, 14] = True
    return anomaly


def a_result(anomaly: BoolVolume | None = None, **changes: Any) -> CaseResult:
    """A box of a brain with two lesions: 4 x 3 x 2 = 24 voxels with error 0.5, and one voxel with error 2."""
    case = a_case()
    array = case.reference.array
    brain = array > 0
    heatmap = np.where(brain, np.float32(0.01), np.float32(0))
    heatmap[6:10, 10:13, 8:10] = 0.5
    heatmap[18, 20, 14] = 2.0
    layers = {
        ANOMALY: Layer.mask(an_anomaly() if anomaly is None else anomaly),
        HEATMAP: Layer.score(heatmap),
        RECONSTRUCTION: Layer.intensity(array.astype(np.float32)),
    }
    made = CaseResult(
        case=case,
        brain=brain,
        brain_source="already stripped: background is zero",
        brain_ml=27.2,
        layers=layers,
        case_score=2.0,
        slice_scores=None,
        scalars={"mask_size": 25, "mean_error": 0.03},
        artifacts=(curve(), MaskHistory((400, 25), (0.4, 0.01))),
        warnings=("The mask did not settle.",),
        provenance={
            "model": "toy",
            "model_sha256": {"model.safetensors": "c0ffee"},
            "seed": 7,
            "settings": {"sweep_passes": 30},
            "seconds": 1.5,
            "device": "cpu",
        },
    )
    return replace(made, **changes)


def healthy(**changes: Any) -> CaseResult:
    """The same brain without an anomaly."""
    return a_result(np.zeros(SHAPE, dtype=bool), warnings=(), **changes)


def score_alone() -> CaseResult:
    """What a method has that outlines nothing: a score of the case and of each slice."""
    return a_result(layers={}, artifacts=(), scalars={}, case_score=0.75, slice_scores=(0.1, 0.75, 0.2))


def iterations() -> tuple[Step, ...]:
    """A sweep pass that hides 3 voxels and a shrink pass that hides 1."""
    first, second = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    first[5, 5, 5:8] = second[5, 5, 6] = True
    return (
        Step(1, 2, "sweep", 0.25, {"masked_fraction": 0.5, "mean_error": 0.125}, {MASK: Layer.mask(first)}),
        Step(2, 2, "shrink", 0.5, {"masked_fraction": 0.25}, {MASK: Layer.mask(second)}),
    )
