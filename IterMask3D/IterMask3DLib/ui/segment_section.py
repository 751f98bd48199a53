"""Segment: the button that starts a run and stops it, its progress, and what came of it."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from IterMask3DLib.scene.nodes import ResultNodes
from IterMask3DLib.scene.records import Progress, RunState, RunSummary, StepInfo
from IterMask3DLib.ui.input_section import InputSection
from IterMask3DLib.ui.parameters import runOptions
from IterMask3DLib.ui.session import Session

_BAR = 1000


class SegmentSection:
    """Starts, pauses and cancels; hears how every run goes, whichever section started it."""

    def __init__(self, session: Session, inputs: InputSection) -> None:
        self._session, self._ui, self._inputs = session, session.ui, inputs
        self._ui.progressBar.maximum = _BAR
        self._ui.applyButton.connect("clicked()", self.onApply)
        self._ui.pauseButton.connect("clicked()", self.onPause)
        session.runCallbacks = {
            "onStep": self.onStep,
            "onProgress": self.onProgress,
            "onDone": self.onDone,
            "onError": self.onError,
            "onLog": session.messages.log,
        }

    def onApply(self) -> None:
        logic, parameters = self._session.logic, self._session.parameters
        if logic.busy:
            logic.cancel()
            self._session.messages.say(_("Cancelling before the next pass; what was reached is kept."))
            self._session.refresh()
            return
        self._ui.progressBar.value = 0
        self._session.run(
            lambda **callbacks: logic.start(
                parameters.inputVolume, runOptions(parameters), parameters.brainMask, parameters.outputSegmentation, **callbacks
            )
        )

    def onPause(self) -> None:
        if self._session.logic.state is RunState.PAUSED:
            self._session.logic.resume()
        else:
            self._session.logic.pause()
            self._session.messages.say(_("Paused. Resume goes on with the next pass."))
        self._session.refresh()

    def onStep(self, step: StepInfo) -> None:
        if self._session.nodes is None or step.item == 0:
            self._session.nodes = ResultNodes.find(self._session.parameters.inputVolume)
            self._session.refresh()

    def onProgress(self, progress: Progress) -> None:
        self._ui.progressBar.value = round(_BAR * progress.fraction)
        if self._session.logic.state is RunState.RUNNING:
            self._session.messages.say(progress.text)

    def onDone(self, summary: RunSummary) -> None:
        parameters, nodes = self._session.parameters, summary.nodes
        if nodes is not None and parameters is not None and nodes.segmentation is not None:
            parameters.outputSegmentation = nodes.segmentation
        self._session.messages.tell(summary.text)
        if not summary.cancelled:
            self._ui.progressBar.value = _BAR
        self._session.refresh()

    def onError(self, text: str, details: str) -> None:
        self._session.messages.problem(text, details)
        self._session.refresh()

    def update(self) -> None:
        logic, parameters = self._session.logic, self._session.parameters
        self._ui.applyButton.text = _("Cancel") if logic.busy else _("Segment")
        self._ui.applyButton.enabled = logic.state is not RunState.CANCELLING and (logic.busy or self._canStart(parameters))
        self._ui.applyButton.toolTip = self._hint(parameters)
        self._ui.pauseButton.enabled = logic.state in (RunState.RUNNING, RunState.PAUSED)
        self._ui.pauseButton.text = _("Resume") if logic.state is RunState.PAUSED else _("Pause")

    def _canStart(self, parameters: Any) -> bool:
        there = parameters is not None and parameters.inputVolume is not None
        return there and self._inputs.usable and not self._session.missing

    def _hint(self, parameters: Any) -> str:
        if self._session.logic.busy:
            return _("Stop before the next pass and keep what was reached")
        if self._session.missing:
            return _("Install the missing packages first")
        if parameters is None or parameters.inputVolume is None:
            return _("Select a volume first")
        if not self._inputs.usable:
            return _("Mend the problem named under Input first")
        return _("Find what the model cannot explain in the volume")
