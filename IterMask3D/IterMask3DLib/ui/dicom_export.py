"""The anomaly as a DICOM segmentation, by Slicer's own exporter."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.translation import tr as _

_EXPORTER = "DICOMSegmentationPlugin"
"""Module of Slicer since 5.12, and of the extension QuantitativeReporting before."""


def is_offered(nodes: ResultNodes) -> bool:
    """Whether the volume is of the DICOM database, and Slicer has what writes segmentations of it."""
    from_database = bool(nodes.input is not None and nodes.input.GetAttribute("DICOM.instanceUIDs"))
    return from_database and bool(nodes.segment_id) and importlib.util.find_spec(_EXPORTER) is not None


def export(nodes: ResultNodes, folder: Path) -> Path:
    """Writes the DICOM segmentation into a folder, and into the DICOM database. Raises `UserError`."""
    if not nodes.lesion_table or not nodes.lesion_table.GetNumberOfRows():
        raise UserError(_("There is no anomaly that could be exported."))
    nodes.place()
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.glob("*.dcm"))
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    exporter = importlib.import_module(_EXPORTER).DICOMSegmentationPluginClass()
    series = exporter.examineForExport(hierarchy.GetItemByDataNode(nodes.segmentation))
    for one in series:
        one.directory = str(folder)
    problem = exporter.export(series) if series else _("its series is no longer in the DICOM database")
    written = sorted(set(folder.glob("*.dcm")) - before)
    if problem or not written:
        raise UserError(_("The DICOM segmentation was not written: {problem}.", problem=str(problem).rstrip(".")))
    return written[0]
