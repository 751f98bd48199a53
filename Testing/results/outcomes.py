"""Outcomes of cases that never ran: small, made by formulas, with numbers a test can work out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from IterMask3DLib.core.image import Affine, Curve, Image
from IterMask3DLib.results.outcome import CaseOutcome, Iteration

SHAPE = (24, 30, 20)


def oblique_affine() -> Affine:
    """Voxels of 1 x 1.5 x 3 mm, first axis to the patient's left, tilted by 20 degrees about it."""
    angle = np.deg2rad(20)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag([-1.0, 1.5, 3.0])
    affine[:3, 3] = [11.25, -20.125, -31.7]
    return affine


def curve() -> Curve:
    passes = np.arange(1, 31)
    fit = 0.1 * np.tan(0.05 * passes)
    return Curve(fit + 0.001, fit, 0.005 / np.cos(0.05 * passes) ** 2, 0.98, True, 0.02, 20)


def outcome(**changes: Any) -> CaseOutcome:
    """A box of a brain with two lesions: 4 x 3 x 2 = 24 voxels with error 0.5, and one voxel with error 2."""
    brain = np.zeros(SHAPE, dtype=bool)
    brain[3:21, 3:27, 3:17] = True
    anomaly = np.zeros(SHAPE, dtype=bool)
    anomaly[6:10, 10:13, 8:10] = True
    anomaly[18, 20, 14] = True
    heatmap = np.where(brain, np.float32(0.01), np.float32(0))
    heatmap[6:10, 10:13, 8:10] = 0.5
    heatmap[18, 20, 14] = 2.0
    array = np.where(brain, 100 + np.indices(SHAPE).sum(axis=0), 0).astype(np.int16)
    made = CaseOutcome(
        case="anna",
        volume=Image(array, oblique_affine(), "anna", "scans/anna.nii.gz"),
        brain=brain,
        anomaly=anomaly,
        heatmap=heatmap,
        reconstruction=array.astype(np.float32),
        curve=curve(),
        shrink=((400, 0.4), (25, 0.01)),
        mask_size=25,
        mean_error=0.03,
        warnings=("The mask did not settle.",),
        brain_source="already stripped: background is zero",
        brain_ml=27.2,
        provenance={"model": "toy", "model_sha256": "c0ffee", "seed": 7, "settings": {"passes": 30}, "seconds": 1.5, "device": "cpu"},
        iterations=None,
    )
    return replace(made, **changes)


def healthy(**changes: Any) -> CaseOutcome:
    """The same brain without an anomaly."""
    return outcome(anomaly=np.zeros(SHAPE, dtype=bool), shrink=(), mask_size=0, warnings=(), **changes)


def iterations() -> tuple[Iteration, ...]:
    """A sweep pass that hides 3 voxels and a shrink pass that hides 1."""
    first, second = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    first[5, 5, 5:8] = second[5, 5, 6] = True
    return Iteration(1, "sweep", 0.25, first), Iteration(2, "shrink", 0.5, second)
