"""Stand-ins for Slicer's other qMRML widgets, and the list of all."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets

from Testing.slicer_host.ctk_sliders import ctkDoubleSpinBox, ctkRangeWidget, ctkSliderWidget
from Testing.slicer_host.editor_widget import qMRMLSegmentEditorWidget
from Testing.slicer_host.mrml_base import qMRMLWidget, qSlicerWidget
from Testing.slicer_host.node_combo_box import qMRMLNodeComboBox
from Testing.slicer_host.plot_view import qMRMLPlotView
from Testing.slicer_host.properties import stand_in, stored
from Testing.slicer_host.sequence_widgets import qMRMLSequenceBrowserPlayWidget, qMRMLSequenceBrowserSeekWidget


@stand_in
class qMRMLSegmentationShow3DButton(QtWidgets.QPushButton):
    locked = stored(bool, "locked", False)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setText("Show 3D")
        self.setCheckable(True)
        self._segmentation: Any = None
        self.toggled.connect(self._toggled)

    def segmentationNode(self) -> Any:
        return self._segmentation

    def setSegmentationNode(self, node: Any) -> None:
        self._segmentation = node
        self.setEnabled(node is not None)

    def _toggled(self, shown: bool) -> None:
        if self._segmentation is not None:
            make, remove = "CreateClosedSurfaceRepresentation", "RemoveClosedSurfaceRepresentation"
            getattr(self._segmentation, make if shown else remove)()


@stand_in
class qMRMLSliderWidget(ctkSliderWidget):
    def setMRMLScene(self, scene: Any) -> None:
        """Slicer's widget takes its units from the scene; the stand-in has none."""


@stand_in
class qMRMLRangeWidget(ctkRangeWidget):
    def setMRMLScene(self, scene: Any) -> None:
        """Slicer's widget takes its units from the scene; the stand-in has none."""


@stand_in
class qMRMLSpinBox(ctkDoubleSpinBox):
    def setMRMLScene(self, scene: Any) -> None:
        """Slicer's widget takes its units from the scene; the stand-in has none."""


WIDGETS = (
    qMRMLWidget,
    qSlicerWidget,
    qMRMLNodeComboBox,
    qMRMLSequenceBrowserSeekWidget,
    qMRMLSequenceBrowserPlayWidget,
    qMRMLSegmentationShow3DButton,
    qMRMLSegmentEditorWidget,
    qMRMLPlotView,
    qMRMLSliderWidget,
    qMRMLRangeWidget,
    qMRMLSpinBox,
)
