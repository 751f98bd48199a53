"""Heatmap: how the error is shown over the volume, its threshold as a segmentation, and the comparison side by side."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from IterMask3DLib.ui.session import Session

_STEPS = 1000


class HeatmapSection:
    """Only changes how things are shown, but for the button that turns the threshold into the anomaly."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._shown: Any = None
        self._look: tuple[Any, ...] | None = None
        self._showing = False
        self._ui.heatmapRangeWidget.connect("valuesChanged(double,double)", self.onRange)
        self._ui.heatmapThresholdSlider.connect("valueChanged(double)", self.onThreshold)
        self._ui.thresholdButton.connect("clicked()", self.onThresholdToSegmentation)
        self._ui.compareButton.connect("toggled(bool)", self.onCompare)

    def update(self) -> None:
        nodes = self._session.nodes
        there = nodes is not None and nodes.heatmap is not None
        for widget in (self._ui.heatmapRangeWidget, self._ui.heatmapThresholdSlider):
            widget.enabled = there
        self._ui.thresholdButton.enabled = there and self._session.ready
        self._ui.compareButton.enabled = there
        if nodes is None or not there or self._session.parameters is None:
            self._shown = self._look = None
            self._leaveCompare()
            return
        if nodes.heatmap is not self._shown or (not self._session.logic.busy and self._stale(nodes)):
            self._shown = nodes.heatmap
            self._takeRange(nodes)
        self._show(nodes)

    def leave(self) -> None:
        """The user goes to another module: the layout comes back."""
        self._leaveCompare()

    def onRange(self, low: float, high: float) -> None:
        if not self._showing and self._shown is not None:
            self._session.logic.setHeatmapRange(self._session.result, low, high)

    def onThreshold(self, value: float) -> None:
        if not self._showing and self._shown is not None:
            self._session.logic.setHeatmapThreshold(self._session.result, value if value > 0 else None)

    def onThresholdToSegmentation(self) -> None:
        nodes, threshold = self._session.result, self._ui.heatmapThresholdSlider.value
        volume = self._session.attempt(lambda: self._session.logic.thresholdHeatmap(nodes, threshold))
        if volume is not None:
            self._session.messages.tell(_("Error above {threshold:.4g}: {volume:.1f} ml.").format(threshold=threshold, volume=volume))
        self._session.refresh()

    def onCompare(self, compare: bool) -> None:
        if not compare:
            self._session.logic.leaveCompare()
        elif not self._session.logic.compare(self._session.result):
            self._session.messages.say(_("There are no slice views to compare in."))
            self._leaveCompare()

    def _leaveCompare(self) -> None:
        if self._ui.compareButton.checked:
            self._ui.compareButton.checked = False

    def _stale(self, nodes: Any) -> bool:
        return self._session.logic.heatmapRange(nodes)[1] != self._highest

    def _takeRange(self, nodes: Any) -> None:
        """The widgets go as far as the errors do, and stand where the display of the heatmap does."""
        self._lowest, self._highest = self._session.logic.heatmapRange(nodes)
        display = nodes.heatmap.GetDisplayNode()
        step = max(self._highest / _STEPS, 1e-6)
        self._showing = True
        self._ui.heatmapRangeWidget.singleStep = self._ui.heatmapThresholdSlider.singleStep = step
        self._ui.heatmapRangeWidget.setRange(0.0, self._highest)
        self._ui.heatmapThresholdSlider.maximum = self._highest
        if display is not None:
            self._ui.heatmapRangeWidget.setValues(display.GetWindowLevelMin(), display.GetWindowLevelMax())
            self._ui.heatmapThresholdSlider.value = max(display.GetLowerThreshold(), 0.0) if display.GetApplyThreshold() else 0.0
        self._showing = False

    def _show(self, nodes: Any) -> None:
        parameters = self._session.parameters
        look = (
            nodes.heatmap.GetID(),
            parameters.heatmapVisible,
            parameters.heatmapOpacity,
            parameters.heatmapLive,
            parameters.legendVisible,
        )
        if look == self._look:
            return
        self._look = look
        self._session.logic.showHeatmap(nodes, parameters.heatmapVisible, parameters.heatmapOpacity, live=parameters.heatmapLive)
        self._session.logic.showLegend(nodes, parameters.legendVisible and parameters.heatmapVisible)
