"""What is healthy in labelled scans of patients: real tissue of contrasts of which there is no healthy cohort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.base import Healthy, Report
from IterMask3DLib.preprocessing.labelled import find_labelled
from IterMask3DLib.preprocessing.prepare import Averages, prepare
from IterMask3DLib.preprocessing.read import read_case

LESION_MARGIN_MM = 10.0
"""How far from every lesion tissue counts as healthy."""


def patient_brains(folder: Path, card: ModelCard, report: Report) -> list[Healthy]:
    """The brains of the labelled scans of a folder on the grid of a model, anomalous near their lesions.

    Raises:
        UserError: also where the lesions leave no healthy tissue of a brain.
    """
    brains = []
    for files in find_labelled(folder, card.inputs):
        report(f"preparing {files.name}")
        case = prepare(read_case(files.name, files.images, files.brain), card)
        reference = case.case.reference
        lesions = files.lesions_on(reference)
        near = np.zeros(lesions.shape, dtype=bool)
        if lesions.any():
            near = ndimage.distance_transform_edt(~lesions, sampling=reference.spacing) <= LESION_MARGIN_MM
        anomalous = Averages(case.brain_mask, case.transform)(near)
        brain = Healthy(case.channels, case.brain, case.spacing, anomalous=anomalous)
        if not brain.tissue.any():
            raise UserError(f"{files.label} leaves no healthy tissue of its brain; leave it out.")
        brains.append(brain)
    return brains
