"""Iterations: stepping through what the run did, the threshold curve, and shrinking again from another point of it."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from IterMask3DLib.scene.records import CurveInfo, StepInfo
from IterMask3DLib.ui.curve_plot import CurvePlot
from IterMask3DLib.ui.session import Session


class IterationsSection:
    """Shows one iteration and its numbers; the slider and the play buttons are Slicer's own, bound to the sequence browser."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._browserEvents = slicer.util.VTKObservationMixin()
        self._browser: Any = None
        self._curve: CurveInfo | None = None
        self._gammaChosen = False
        self._showing = False
        self.plot = CurvePlot(self._ui.plotFrame, self.onPointPicked)
        self._ui.pointSlider.connect("valueChanged(double)", self.onPointMoved)
        self._ui.gammaSlider.connect("valueChanged(double)", self.onGammaMoved)
        self._ui.shrinkAgainButton.connect("clicked()", self.onShrinkAgain)
        self._ui.useIterationButton.connect("clicked()", self.onUseIteration)

    def update(self) -> None:
        nodes, ready = self._session.nodes, self._session.ready
        self._follow(nodes.browser if nodes is not None else None)
        self._showCurve(nodes.curve if nodes is not None else None)
        self.plot.show(
            nodes.curveChart if nodes is not None and self._curve is not None else None, nodes.root if nodes is not None else None
        )
        self._ui.pointSlider.enabled = self._ui.shrinkAgainButton.enabled = ready and self._curve is not None
        self._ui.useIterationButton.enabled = ready and self._session.item >= 0
        if nodes is not None and self._session.parameters is not None:
            self._session.logic.showMask(nodes, self._session.parameters.maskVisible)
        self.showNumbers()

    def close(self) -> None:
        self._follow(None)
        self.plot.close()

    def showNumbers(self, *_event: object) -> None:
        """The numbers of the iteration on the slider."""
        nodes = self._session.nodes
        step = self._session.logic.stepInfo(nodes, self._session.item) if nodes is not None and self._session.item >= 0 else None
        for label, text in zip(self._numberLabels(), self._numbers(step), strict=True):
            label.text = text

    def onPointPicked(self, point: int, count: int) -> None:
        """A click on the curve; the series of the chosen point alone has one row, and clicking it chooses nothing."""
        if self._curve is not None and count == len(self._curve.thresholds):
            self._ui.pointSlider.value = point + 1

    def onPointMoved(self, _value: float) -> None:
        if not self._showing:
            self._gammaChosen = False
            self._tellShrink()

    def onGammaMoved(self, _value: float) -> None:
        if self._curve is not None and self._session.parameters is not None:
            self._gammaChosen = abs(self._ui.gammaSlider.value - self._curve.gamma) > 1e-9
            self._tellShrink()

    def onShrinkAgain(self) -> None:
        parameters, nodes = self._session.parameters, self._session.result
        choice: dict[str, Any] = {"gamma": parameters.gamma} if self._gammaChosen else {}
        if not self._gammaChosen and self._pointChosen:
            choice = {"point": self._point}
        self._gammaChosen = False
        self._session.run(lambda **callbacks: self._session.logic.rerunShrink(nodes, start=parameters.start.value, **choice, **callbacks))

    def onUseIteration(self) -> None:
        nodes, item = self._session.result, self._session.item
        self._session.attempt(lambda: self._session.logic.useIteration(nodes, item))
        self._session.messages.tell(_("The mask of iteration {number} is the anomaly now.").format(number=item + 1))
        self._session.refresh()

    @property
    def _point(self) -> int:
        return round(self._ui.pointSlider.value) - 1

    @property
    def _pointChosen(self) -> bool:
        """Whether the slider stands elsewhere than the curve's own choice."""
        return self._curve is not None and self._point != self._curve.chosen

    def _follow(self, browser: Any) -> None:
        if browser is self._browser:
            return
        self._browserEvents.removeObservers()
        self._browser = browser
        self._ui.seekWidget.setMRMLSequenceBrowserNode(browser)
        self._ui.playWidget.setMRMLSequenceBrowserNode(browser)
        if browser is not None:
            self._browserEvents.addObserver(browser, vtk.vtkCommand.ModifiedEvent, self.showNumbers)

    def _showCurve(self, curve: CurveInfo | None) -> None:
        known, self._curve = self._curve, curve
        if curve is None:
            self._ui.curveLabel.text = self._ui.shrinkAgainLabel.text = ""
            return
        if known is None or (known.chosen, len(known.thresholds)) != (curve.chosen, len(curve.thresholds)):
            self._showing = True
            self._ui.pointSlider.maximum = len(curve.thresholds)
            self._ui.pointSlider.value = curve.chosen + 1
            self._showing = False
        how = (
            _("fit R² {value:.3f}").format(value=curve.rSquared)
            if curve.usedFit
            else _("the fit does not hold; smoothed differences were used")
        )
        automatic = _("by gamma {gamma:.3f}").format(gamma=curve.gamma) if curve.fixed is None else _("by the model")
        who = automatic if curve.automatic else _("by hand")
        self._ui.curveLabel.text = _("Threshold {threshold:.4g} at pass {point} of {count}, chosen {who}; {how}.").format(
            threshold=curve.threshold, point=curve.chosen + 1, count=len(curve.thresholds), who=who, how=how
        )
        self._tellShrink()

    def _tellShrink(self) -> None:
        if self._curve is None:
            return
        if self._gammaChosen:
            text = _("Shrink again would use gamma {gamma:.3f}.").format(gamma=self._session.parameters.gamma)
        else:
            threshold = self._curve.thresholds[self._point] if self._pointChosen else self._curve.threshold
            text = _("Shrink again would use threshold {value:.4g}.").format(value=threshold)
        self._ui.shrinkAgainLabel.text = text

    def _numberLabels(self) -> tuple[Any, ...]:
        ui = self._ui
        return ui.phaseLabel, ui.thresholdLabel, ui.maskedLabel, ui.shareLabel, ui.passLabel, ui.secondsLabel

    def _numbers(self, step: StepInfo | None) -> tuple[str, ...]:
        if step is None:
            return ("–",) * 6
        phase = {"sweep": _("Sweep"), "shrink": _("Shrink"), "edited": _("Edited by hand")}[step.phase]
        return (
            phase,
            f"{step.threshold:.4g}",
            _("{value:.1f} ml").format(value=step.maskedMl),
            _("{value:.1f} %").format(value=100 * step.maskedFraction),
            str(step.number) if step.number else "–",
            _("{value:.2f} s").format(value=step.seconds),
        )
