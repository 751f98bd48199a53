"""The anomaly as a DICOM Segmentation object of the series that it was found in, written by `highdicom`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from IterMask3DLib import __version__
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.failures import one_line
from IterMask3DLib.core.result import ANOMALY, CaseResult
from IterMask3DLib.preprocessing.dicom import dicom_files

_MAKER = "IterMask3D"
_SERIES_AFTER = 100
"""The series gets the number of the scan's and this, as Slicer's exporter does it."""


def check_dicom_seg(place: Path) -> None:
    """Raises `UserError` where no DICOM segmentation could be written of an input."""
    _highdicom()
    if len(dicom_files(place)) < 2:
        raise UserError(
            f"{place} is one file of many frames; a DICOM segmentation is written for a series of one slice a file."
        )


def write_dicom_seg(result: CaseResult, path: Path) -> None:
    """Writes the anomaly as a binary segment of the slices of its scan.

    Category, type and region are coded in SNOMED CT, as the panel's; the algorithm is identified by name and version.

    Raises:
        UserError: where the input is no DICOM series of one slice a file, or `highdicom` is missing.
    """
    hd = _highdicom()
    import pydicom
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    place = Path(result.case.reference.source)
    check_dicom_seg(place)
    slices = [pydicom.dcmread(file, stop_before_pixels=True) for file in dicom_files(place)]
    provenance = result.provenance
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Anomaly",
        segmented_property_category=Code("49755003", "SCT", "Morphologically Abnormal Structure"),
        segmented_property_type=Code("4147007", "SCT", "Mass"),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=_MAKER,
            version=__version__,
            family=codes.cid7162.ArtificialIntelligence,
            parameters={"model": str(provenance["model"]), "seed": str(provenance["seed"])},
        ),
        anatomic_regions=[Code("12738006", "SCT", "Brain")],
    )
    # From the axes of the image, [column, row, slice], to frames.
    frames = np.ascontiguousarray(result.layers[ANOMALY].read().astype(np.uint8).T)
    try:
        written = hd.seg.Segmentation(
            source_images=slices,
            pixel_array=frames,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[segment],
            series_instance_uid=hd.UID(),
            series_number=int(slices[0].get("SeriesNumber") or 0) + _SERIES_AFTER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=_MAKER,
            manufacturer_model_name=_MAKER,
            software_versions=__version__,
            device_serial_number="0",
            content_label="ANOMALY",
            content_description="What a model of healthy brains cannot explain",
            series_description="Anomaly (IterMask3D, research only)",
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = one_line(str(error))
        raise UserError(f"{place}: its headers lack what a DICOM segmentation needs ({why}).") from error
    written.save_as(path)


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError:
        raise UserError(
            "A DICOM segmentation needs the package highdicom; install it with pip install highdicom."
        ) from None
    return highdicom
