"""Iterations: stepping through what the run did, the threshold curve, and shrinking again from another point of it."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.result import Step
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.ui.curve_plot import CurvePlot
from IterMask3DLib.ui.session import Session

GAMMA = "gamma"
"""The setting of a method with a threshold curve that chooses a point on it."""


class IterationsSection:
    """Shows one iteration and its numbers; the slider and the play buttons are Slicer's own, bound to the browser."""

    needs = frozenset({"steps"})

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._browser_events = slicer.util.VTKObservationMixin()
        self._browser: Any = None
        self._curve: ThresholdCurve | None = None
        self._showing = False
        self.plot = CurvePlot(self._ui.plotFrame, self.on_point_picked)
        self._ui.pointSlider.connect("valueChanged(double)", self.on_point_moved)
        self._ui.shrinkAgainButton.connect("clicked()", self.on_shrink_again)
        self._ui.useIterationButton.connect("clicked()", self.on_use_iteration)

    def update(self) -> None:
        nodes, ready = self._session.nodes, self._session.ready
        there = nodes is not None and nodes.browser is not None
        self._ui.iterationsCollapsibleButton.visible = there and self.needs <= self._session.capabilities
        self._follow(nodes.browser if nodes is not None else None)
        self._show_curve(nodes.curve if nodes is not None else None)
        self._show_chart(nodes)
        self._ui.pointSlider.enabled = self._ui.shrinkAgainButton.enabled = ready and self._curve is not None
        self._ui.useIterationButton.enabled = ready and self._session.item >= 0
        if nodes is not None and self._session.parameters is not None:
            self._session.logic.show_mask(nodes, self._session.parameters.maskVisible)
        self.show_numbers()

    def close(self) -> None:
        self._follow(None)
        self.plot.close()

    def show_numbers(self, *_event: object) -> None:
        """The numbers of the iteration on the slider."""
        nodes, item = self._session.nodes, self._session.item
        step = self._session.logic.step(nodes, item) if nodes is not None and item >= 0 else None
        ml = self._masked_ml(step) if step is not None else None
        ui = self._ui
        labels = (ui.phaseLabel, ui.thresholdLabel, ui.maskedLabel, ui.shareLabel, ui.passLabel, ui.secondsLabel)
        for label, text in zip(labels, self._numbers(step, ml), strict=True):
            label.text = text

    def on_point_picked(self, point: int, count: int) -> None:
        """A click on the curve; the series of the chosen point alone has one row, and clicking it chooses nothing."""
        if self._curve is not None and count == len(self._curve.thresholds):
            self._ui.pointSlider.value = point + 1

    def on_point_moved(self, _value: float) -> None:
        if not self._showing:
            self._tell_shrink()

    def on_shrink_again(self) -> None:
        nodes, settings = self._session.result, dict(self._session.request.settings)
        gamma = settings.pop(GAMMA, None)
        choice: dict[str, Any] = {"point": self._point} if self._point_chosen else {"gamma": gamma}
        start = {name: value for name, value in settings.items() if name == "start"}
        self._session.run(
            lambda **options: self._session.logic.choose_again(nodes, settings=start, **choice, **options)
        )

    def on_use_iteration(self) -> None:
        nodes, item = self._session.result, self._session.item
        if self._session.attempt(lambda: self._session.logic.use_iteration(nodes, item)) is not None:
            text = _("The mask of iteration {number} is the anomaly now.").format(number=item + 1)
            self._session.messages.report(text)
        self._session.refresh()

    @property
    def _point(self) -> int:
        return round(self._ui.pointSlider.value) - 1

    @property
    def _point_chosen(self) -> bool:
        """Whether the slider stands elsewhere than the curve's own choice."""
        return self._curve is not None and self._point != self._curve.chosen

    def _follow(self, browser: Any) -> None:
        if browser is self._browser:
            return
        self._browser_events.removeObservers()
        self._browser = browser
        self._ui.seekWidget.setMRMLSequenceBrowserNode(browser)
        self._ui.playWidget.setMRMLSequenceBrowserNode(browser)
        if browser is not None:
            self._browser_events.addObserver(browser, vtk.vtkCommand.ModifiedEvent, self.show_numbers)

    def _show_curve(self, curve: ThresholdCurve | None) -> None:
        known, self._curve = self._curve, curve
        if curve is None:
            self._ui.curveLabel.text = self._ui.shrinkAgainLabel.text = ""
            return
        if known is None or (known.chosen, len(known.thresholds)) != (curve.chosen, len(curve.thresholds)):
            self._showing = True
            self._ui.pointSlider.maximum = len(curve.thresholds)
            self._ui.pointSlider.value = curve.chosen + 1
            self._showing = False
        self._ui.curveLabel.text = self._session.logic.curve_text(self._session.result)
        self._tell_shrink()

    def _show_chart(self, nodes: ResultNodes | None) -> None:
        """The threshold curve with its choice, else the scores of the slices, for methods that have one of them."""
        ui, chart, hint = self._ui, None, ""
        if nodes is not None and self._curve is not None:
            chart = nodes.curve_chart
            hint = _("Threshold after each pass of the sweep, its fit, and the chosen point; click one to choose it")
        elif nodes is not None:
            chart, hint = nodes.scores_chart, _("How anomalous the method holds each slice of the model grid")
        ui.curveFrame.visible = chart is not None
        for widget in (ui.curveLabel, ui.pointCaption, ui.pointSlider, ui.shrinkAgainButton, ui.shrinkAgainLabel):
            widget.visible = self._curve is not None
        self.plot.show(chart, nodes.root if nodes is not None else None, hint)

    def _tell_shrink(self) -> None:
        if self._curve is None or self._session.parameters is None:
            return
        gamma = self._session.request.settings.get(GAMMA)
        if gamma is not None and not self._point_chosen:
            text = _("Shrink again would use gamma {gamma:.3f}.").format(gamma=gamma)
        else:
            threshold = self._curve.thresholds[self._point] if self._point_chosen else self._curve.threshold
            text = _("Shrink again would use threshold {value:.4g}.").format(value=threshold)
        self._ui.shrinkAgainLabel.text = text

    def _masked_ml(self, step: Step) -> float | None:
        brain_ml, fraction = self._session.result.brain_ml, step.scalars.get("masked_fraction")
        return brain_ml * fraction if brain_ml and fraction is not None else None

    def _numbers(self, step: Step | None, ml: float | None) -> tuple[str, ...]:
        if step is None:
            return ("–",) * 6
        phases = {"sweep": _("Sweep"), "shrink": _("Shrink"), "edited": _("Edited by hand")}
        threshold, fraction = step.scalars.get("threshold"), step.scalars.get("masked_fraction")
        return (
            phases.get(step.phase, step.phase.capitalize()),
            "–" if threshold is None else f"{threshold:.4g}",
            "–" if ml is None else _("{value:.1f} ml").format(value=ml),
            "–" if fraction is None else _("{value:.1f} %").format(value=100 * fraction),
            str(step.number) if step.number else "–",
            _("{value:.2f} s").format(value=step.seconds),
        )
