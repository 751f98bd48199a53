"""Segment: the button that starts a run and stops it, its progress, and what came of it."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from IterMask3DLib.core.result import Step
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.records import RunProgress, RunState, RunSummary
from IterMask3DLib.ui.input_section import InputSection
from IterMask3DLib.ui.session import Session

_BAR = 1000


class SegmentSection:
    """Starts, pauses and cancels; hears how every run goes, whichever section started it."""

    def __init__(self, session: Session, inputs: InputSection) -> None:
        self._session, self._ui, self._inputs = session, session.ui, inputs
        self._ui.progressBar.maximum = _BAR
        self._ui.applyButton.connect("clicked()", self.on_apply)
        self._ui.pauseButton.connect("clicked()", self.on_pause)
        session.run_callbacks = {
            "on_step": self.on_step,
            "on_progress": self.on_progress,
            "on_done": self.on_done,
            "on_error": self.on_error,
            "on_log": session.messages.log,
        }

    def on_apply(self) -> None:
        logic, parameters = self._session.logic, self._session.parameters
        if logic.busy:
            logic.cancel()
            self._session.messages.show(_("Cancelling before the next pass; what was reached is kept."))
            self._session.refresh()
            return
        self._ui.progressBar.value = 0
        request, volumes = self._session.request, self._session.volumes
        self._session.run(
            lambda **options: logic.start(
                volumes, request, parameters.brainMask, parameters.outputSegmentation, **options
            )
        )

    def on_pause(self) -> None:
        if self._session.logic.state is RunState.PAUSED:
            self._session.logic.unpause()
        else:
            self._session.logic.pause()
            self._session.messages.show(_("Paused. Resume goes on with the next pass."))
        self._session.refresh()

    def on_step(self, item: int, _step: Step) -> None:
        if self._session.nodes is None or item == 0:
            self._session.nodes = ResultNodes.find(self._session.parameters.inputVolume)
            self._session.refresh()

    def on_progress(self, progress: RunProgress) -> None:
        self._ui.progressBar.value = round(_BAR * progress.fraction)
        if self._session.logic.state is RunState.RUNNING:
            self._session.messages.show(progress.text)
            # What follows may hold the main thread before Qt paints by itself: a scene is written in one call.
            self._ui.statusLabel.repaint()

    def on_done(self, summary: RunSummary) -> None:
        parameters, nodes = self._session.parameters, summary.nodes
        if nodes is not None and parameters is not None and nodes.segmentation is not None:
            parameters.outputSegmentation = nodes.segmentation
        self._session.messages.report(summary.text)
        if not summary.cancelled:
            self._ui.progressBar.value = _BAR
        self._session.refresh()

    def on_error(self, text: str, details: str) -> None:
        self._session.messages.problem(text, details)
        self._session.refresh()

    def update(self) -> None:
        logic, parameters = self._session.logic, self._session.parameters
        self._ui.applyButton.text = _("Cancel") if logic.busy else _("Segment")
        stoppable = logic.state is not RunState.CANCELLING
        self._ui.applyButton.enabled = stoppable and (logic.busy or self._can_start(parameters))
        self._ui.applyButton.toolTip = self._hint(parameters)
        self._ui.pauseButton.visible = self._ui.progressBar.visible = logic.busy
        self._ui.pauseButton.enabled = logic.state in (RunState.RUNNING, RunState.PAUSED)
        self._ui.pauseButton.text = _("Resume") if logic.state is RunState.PAUSED else _("Pause")

    def _can_start(self, parameters: Any) -> bool:
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
            return _("Solve the problem named under Input first")
        return _("Find what the model cannot explain in the volume")
