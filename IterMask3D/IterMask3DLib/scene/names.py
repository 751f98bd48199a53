"""Names that scenes keep: attributes, reference roles and parameters. Renaming one makes older scenes unreadable."""

from __future__ import annotations

ROLE = "IterMask3D.Role"
"""Attribute of every node the module makes; the root has the role `result`."""

RESULT = "result"

INPUT = "IterMask3D.input"
BRAIN_MASK = "IterMask3D.brainMask"
"""Reference roles, from the root, to what the user gave."""

OWNED = {
    "segmentation": "vtkMRMLSegmentationNode",
    "editedMask": "vtkMRMLSegmentationNode",
    "heatmap": "vtkMRMLScalarVolumeNode",
    "reconstruction": "vtkMRMLScalarVolumeNode",
    "brain": "vtkMRMLLabelMapVolumeNode",
    "browser": "vtkMRMLSequenceBrowserNode",
    "maskSequence": "vtkMRMLSequenceNode",
    "errorSequence": "vtkMRMLSequenceNode",
    "reconstructionSequence": "vtkMRMLSequenceNode",
    "iterationTable": "vtkMRMLTableNode",
    "curveTable": "vtkMRMLTableNode",
    "chosenTable": "vtkMRMLTableNode",
    "lesionTable": "vtkMRMLTableNode",
    "thresholdSeries": "vtkMRMLPlotSeriesNode",
    "fitSeries": "vtkMRMLPlotSeriesNode",
    "chosenSeries": "vtkMRMLPlotSeriesNode",
    "curveChart": "vtkMRMLPlotChartNode",
}
"""What a result owns: role of the reference from the root, and class of the node."""

STAMP, OPTIONS, CURVE, RECORD, PROVENANCE = "stamp", "options", "curve", "record", "provenance"
SEGMENT, FOLDER = "segment", "folder"
"""Parameters of the root; those of the first line but the stamp are JSON."""

SEGMENT_NAME = "Anomaly"


def reference(role: str) -> str:
    """The reference role of an owned node."""
    return f"IterMask3D.{role}"
