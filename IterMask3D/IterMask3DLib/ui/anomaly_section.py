"""Anomaly: the segmentation, its surface, the editor, and the lesions."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from IterMask3DLib.scene.nodes import ResultNodes
from IterMask3DLib.ui.editor import Editor
from IterMask3DLib.ui.lesion_table import LesionTable
from IterMask3DLib.ui.session import Session


class AnomalySection:
    """Edits the anomaly, or the mask from which the loop is to go on."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self.editor = Editor(self._ui.editorFrame)
        self.lesions = LesionTable(session)
        self._ui.sourceComboBox.addItem(_("Volume"))
        self._ui.sourceComboBox.addItem(_("Heatmap"))
        self._ui.sourceComboBox.connect("currentIndexChanged(int)", self.onSource)
        session.logic.beforeSegmentationWrite = self.editor.checkpoint
        session.logic.onSegmentationEdited = self.onEdited

    def update(self) -> None:
        nodes = self._session.nodes
        self._chooseOutput()
        segmentation = nodes.segmentation if nodes is not None else None
        self._ui.outputSegmentationSelector.enabled = not self._session.logic.busy
        self._ui.show3DButton.enabled = segmentation is not None
        self._ui.show3DButton.setSegmentationNode(segmentation)
        self._ui.sourceComboBox.enabled = nodes is not None and nodes.heatmap is not None
        edited = self._session.editedMask[0] if self._session.editedMask is not None else segmentation
        self.editor.edit(edited if not self._session.logic.busy else None, self._source())
        self.lesions.update()

    def onSource(self, _index: int) -> None:
        self._session.refresh()

    def onEdited(self, _nodes: Any) -> None:
        self._session.messages.say(_("The anomaly was edited; Measure again brings the table up to date."))

    def _chooseOutput(self) -> None:
        """The segmentation that belongs to the result of another volume is never written to."""
        parameters, nodes = self._session.parameters, self._session.nodes
        chosen = parameters.outputSegmentation if parameters is not None else None
        if chosen is None or self._session.logic.busy:
            return
        if any(other.segmentation is chosen and other.input is not parameters.inputVolume for other in ResultNodes.all()):
            parameters.outputSegmentation = nodes.segmentation if nodes is not None else None

    def _source(self) -> Any:
        nodes = self._session.nodes
        if nodes is None:
            return None
        return nodes.heatmap if self._ui.sourceComboBox.currentIndex == 1 and nodes.heatmap is not None else nodes.input
