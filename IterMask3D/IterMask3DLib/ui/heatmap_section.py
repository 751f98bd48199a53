"""Heatmap: how the error is shown over the volume, its threshold as a segmentation, and the comparison side by side."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from IterMask3DLib.core.result import ERROR_MAP
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.ui.session import Session

_STEPS = 1000


class HeatmapSection:
    """Only changes how things are shown, but for the button that turns the threshold into the anomaly."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._shown: Any = None
        self._display: tuple[Any, ...] | None = None
        self._highest = 0.0
        self._showing = False
        self._ui.heatmapRangeWidget.connect("valuesChanged(double,double)", self.on_range)
        self._ui.heatmapThresholdSlider.connect("valueChanged(double)", self.on_threshold)
        self._ui.thresholdButton.connect("clicked()", self.on_threshold_to_segmentation)
        self._ui.compareButton.connect("toggled(bool)", self.on_compare)

    def update(self) -> None:
        nodes = self._session.nodes
        there = nodes is not None and nodes.heatmap is not None
        # During a first run there are the error maps of its iterations alone.
        streaming = nodes is not None and nodes.proxy(ERROR_MAP) is not None
        self._ui.heatmapCollapsibleButton.visible = there or streaming
        for widget in (self._ui.heatmapRangeWidget, self._ui.heatmapThresholdSlider):
            widget.enabled = there
        self._ui.thresholdButton.enabled = there and self._session.ready
        self._ui.compareButton.enabled = there and nodes is not None and nodes.reconstruction is not None
        if nodes is None or not (there or streaming) or self._session.parameters is None:
            self._shown = self._display = None
            self._leave_compare()
            return
        if not there:
            self._shown = None
            self._leave_compare()
        elif nodes.heatmap is not self._shown or (not self._session.logic.busy and self._stale(nodes)):
            self._shown = nodes.heatmap
            self._take_range(nodes)
        self._show(nodes)

    def leave(self) -> None:
        """The user goes to another module: the layout comes back."""
        self._leave_compare()

    def on_range(self, low: float, high: float) -> None:
        if not self._showing and self._shown is not None:
            self._session.logic.set_heatmap_range(self._session.result, low, high)

    def on_threshold(self, value: float) -> None:
        if not self._showing and self._shown is not None:
            self._session.logic.set_heatmap_threshold(self._session.result, value if value > 0 else None)

    def on_threshold_to_segmentation(self) -> None:
        nodes, threshold = self._session.result, self._ui.heatmapThresholdSlider.value
        volume = self._session.attempt(lambda: self._session.logic.threshold_heatmap(nodes, threshold))
        if volume is not None:
            text = _("Error above {threshold:.4g} {unit}: {volume:.1f} ml.")
            text = text.format(threshold=threshold, unit=nodes.unit, volume=volume)
            self._session.messages.report(text.replace(" :", ":"))
        self._session.refresh()

    def on_compare(self, compare: bool) -> None:
        if not compare:
            self._session.logic.leave_compare()
        elif not self._session.logic.compare(self._session.result):
            self._session.messages.show(_("There are no slice views to compare in."))
            self._leave_compare()
        self._display = None

    def _leave_compare(self) -> None:
        if self._ui.compareButton.checked:
            self._ui.compareButton.checked = False

    def _stale(self, nodes: ResultNodes) -> bool:
        return self._session.logic.heatmap_range(nodes)[1] != self._highest

    def _take_range(self, nodes: ResultNodes) -> None:
        """The widgets go as far as the errors do, and stand where the display of the heatmap does."""
        _lowest, self._highest = self._session.logic.heatmap_range(nodes)
        display = nodes.heatmap.GetDisplayNode()
        step = max(self._highest / _STEPS, 1e-6)
        self._showing = True
        self._ui.heatmapRangeWidget.decimals = self._ui.heatmapThresholdSlider.decimals = 3 if self._highest < 10 else 1
        self._ui.heatmapRangeWidget.singleStep = self._ui.heatmapThresholdSlider.singleStep = step
        self._ui.heatmapRangeWidget.setRange(0.0, self._highest)
        self._ui.heatmapThresholdSlider.maximum = self._highest
        if display is not None:
            self._ui.heatmapRangeWidget.setValues(display.GetWindowLevelMin(), display.GetWindowLevelMax())
            shown_from = max(display.GetLowerThreshold(), 0.0) if display.GetApplyThreshold() else 0.0
            self._ui.heatmapThresholdSlider.value = shown_from
        self._showing = False

    def _show(self, nodes: ResultNodes) -> None:
        parameters, logic = self._session.parameters, self._session.logic
        visible, opacity, live = parameters.heatmapVisible, parameters.heatmapOpacity, parameters.heatmapLive
        shown = nodes.proxy(ERROR_MAP) if live else nodes.heatmap
        display = (shown and shown.GetID(), visible, opacity, live, parameters.legendVisible)
        if display == self._display:
            return
        self._display = display
        logic.show_heatmap(nodes, visible, opacity, live=live)
        logic.show_legend(nodes, parameters.legendVisible and visible)
