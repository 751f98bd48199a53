"""Names that scenes keep: attributes, reference roles and parameters. Renaming one needs a step in `upgrade`."""

from __future__ import annotations

ROLE = "IterMask3D.Role"
"""Attribute of every node the module makes; the root has the role `result`."""

RESULT = "result"

KIND = "IterMask3D.Kind"
"""Attribute of the nodes of layers, of steps too: what their voxels are, see `LayerKind`."""

INPUT, BRAIN_MASK = "IterMask3D.input", "IterMask3D.brainMask"
"""Reference roles, from the root, to what the user gave; an input for each channel, the reference first."""

OWNED = {
    "segmentation": "vtkMRMLSegmentationNode",
    "edited_mask": "vtkMRMLSegmentationNode",
    "brain": "vtkMRMLLabelMapVolumeNode",
    "browser": "vtkMRMLSequenceBrowserNode",
    "iteration_table": "vtkMRMLTableNode",
    "curve_table": "vtkMRMLTableNode",
    "chosen_table": "vtkMRMLTableNode",
    "lesion_table": "vtkMRMLTableNode",
    "threshold_series": "vtkMRMLPlotSeriesNode",
    "fit_series": "vtkMRMLPlotSeriesNode",
    "chosen_series": "vtkMRMLPlotSeriesNode",
    "curve_chart": "vtkMRMLPlotChartNode",
    "scores_table": "vtkMRMLTableNode",
    "scores_series": "vtkMRMLPlotSeriesNode",
    "scores_chart": "vtkMRMLPlotChartNode",
}
"""What a result owns beside its layers: role, and class of the node."""

LAYER, STEP = "layer.", "step."
"""Beginnings of the roles of a result's layers (volumes) and of its steps' layers (sequences)."""

FORMAT, RUN_ID, REQUEST, CHANNELS, ARTIFACTS, OUTCOME = (
    "format",
    "run_id",
    "request",
    "channels",
    "artifacts",
    "outcome",
)
BRAIN_ML, SEGMENT, FOLDER = "brain_ml", "segment", "folder"
"""Parameters of the root; those between the run id and the brain are JSON."""

PRESENT_FORMAT = "2"

EDITED = "IterMask3D.Edited"
"""Tag of the anomaly's segment: `yes` once a person changed what a run wrote, else `no`."""

SEGMENT_OF = "IterMask3D.Result"
"""Tag of the anomaly's segment: the folder parameter of the result it belongs to."""

SEGMENT_NAME = "Anomaly"


def reference(role: str) -> str:
    """The reference role, from the root, of an owned node."""
    return f"IterMask3D.{role}"
