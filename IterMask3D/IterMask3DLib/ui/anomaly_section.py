"""Lesions: the table of them, the surface of the anomaly, and the editor."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.ui.editor import Editor
from IterMask3DLib.ui.lesion_table import LesionTable
from IterMask3DLib.ui.node_selectors import hide_own_nodes
from IterMask3DLib.ui.session import Session


class AnomalySection:
    """Edits the anomaly, or the mask from which the loop is to go on."""

    needs = frozenset({"segmentation"})

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self.editor = Editor(self._ui.editorFrame)
        self.lesions = LesionTable(session, self.edit)
        self._ui.sourceComboBox.addItem(_("Volume"))
        self._ui.sourceComboBox.addItem(_("Heatmap"))
        self._ui.sourceComboBox.connect("currentIndexChanged(int)", self.on_source)
        session.logic.before_write = self.editor.checkpoint
        session.logic.on_edited = self.on_edited

    def update(self) -> None:
        nodes = self._session.nodes
        segmentation = nodes.segmentation if nodes is not None else None
        self._choose_output(segmentation)
        self._ui.anomalyCollapsibleButton.visible = (
            segmentation is not None and self.needs <= self._session.capabilities
        )
        self._ui.outputSegmentationSelector.enabled = not self._session.logic.busy
        self._ui.show3DButton.enabled = segmentation is not None
        self._ui.show3DButton.setSegmentationNode(segmentation)
        self._ui.sourceComboBox.enabled = nodes is not None and nodes.heatmap is not None
        edited = self._session.edited_mask[0] if self._session.edited_mask is not None else segmentation
        self.editor.edit(edited, self._source())
        # It keeps the segmentation during a run: letting it go would forget what Undo brings back.
        self.editor.set_enabled(not self._session.logic.busy)
        self.lesions.update()

    def edit(self) -> None:
        """Opens the editor with its pen on the anomaly."""
        self._session.edited_mask = None
        self._session.refresh()
        self._ui.editorCollapsibleButton.collapsed = False
        self.editor.start(self._session.result.segment_id)

    def on_source(self, _index: int) -> None:
        self._session.refresh()

    def on_edited(self, _nodes: Any) -> None:
        self._session.messages.show(_("The anomaly was edited; Measure again brings the table up to date."))

    def _choose_output(self, segmentation: Any) -> None:
        """The segmentation that belongs to the result of another volume is never written to, nor offered."""
        parameters, selector = self._session.parameters, self._ui.outputSegmentationSelector
        if parameters is None or self._session.logic.busy:
            return
        chosen = parameters.outputSegmentation
        hide_own_nodes([selector], but=(chosen, segmentation))
        others = (other for other in ResultNodes.all() if other.input is not parameters.inputVolume)
        if chosen is not None and any(other.segmentation is chosen for other in others):
            parameters.outputSegmentation = segmentation
            hide_own_nodes([selector], but=(segmentation,))

    def _source(self) -> Any:
        nodes = self._session.nodes
        if nodes is None:
            return None
        on_heatmap = self._ui.sourceComboBox.currentIndex == 1 and nodes.heatmap is not None
        return nodes.heatmap if on_heatmap else nodes.input
