"""The part of the logic that runs: start, cancel, pause, the shrink phase again, and going on from an edited mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene import checks, iterations, jobs, views
from IterMask3DLib.scene.edits import EditWatch
from IterMask3DLib.scene.engine_port import Choice, Engine
from IterMask3DLib.scene.geometry import affineOf, brainMaskOf, sameVolume, segmentsOn, shapeOf, volumeOf
from IterMask3DLib.scene.gridmap import GridMap
from IterMask3DLib.scene.nodes import ResultNodes, needInput, newStamp
from IterMask3DLib.scene.receiver import Hooks, Listener, RunReceiver, Target
from IterMask3DLib.scene.records import CurveInfo, Progress, RunOptions, RunState, RunSummary, StepInfo
from IterMask3DLib.scene.runs import Runs, TimerFactory
from IterMask3DLib.scene.torch_engine import TorchEngine
from IterMask3DLib.scene.words import tr as _

OnStep = Callable[[StepInfo], None]
OnProgress = Callable[[Progress], None]
OnDone = Callable[[Any], None]
OnError = Callable[[str, str], None]
OnLog = Callable[[str], None]

_RECALLED = _("The sweep is taken from the scene; only the volume is prepared again.")
_DEFAULT = RunOptions()


def listenerOf(
    onStep: OnStep | None, onProgress: OnProgress | None, onDone: OnDone | None, onError: OnError | None, onLog: OnLog | None
) -> Listener:
    given = {"onStep": onStep, "onProgress": onProgress, "onDone": onDone, "onError": onError, "onLog": onLog}
    return Listener(**{name: call for name, call in given.items() if call is not None})  # type: ignore[arg-type]


class Waiting:
    """Keeps the end of a job for the call that waits for it."""

    def __init__(self) -> None:
        self.found: Any = None
        self.sentence = self.trace = ""

    def done(self, found: Any) -> None:
        self.found = found

    def failed(self, sentence: str, trace: str) -> None:
        self.sentence, self.trace = sentence, trace


class RunLogic:
    """Owns the worker and what is observed. All of it belongs to the main thread; callbacks come out of `poll`, or out of a call that waits."""

    def __init__(self, engine: Engine | None = None, timerFactory: TimerFactory | None = None) -> None:
        self.followRun = True
        self.beforeSegmentationWrite: Callable[[Any], None] | None = None
        self.onSegmentationEdited: Callable[[ResultNodes], None] | None = None
        self.onStateChanged: Callable[[RunState], None] | None = None
        self._bench = jobs.Bench(engine or TorchEngine())
        self._runs = Runs(timerFactory, self._stateChanged)
        self._watch = EditWatch(self._edited)
        self._layouts = views.Layouts()
        scene = slicer.mrmlScene
        self._observed = [
            scene.AddObserver(scene.StartCloseEvent, lambda *_: self._sceneCloses()),
            scene.AddObserver(scene.EndImportEvent, lambda *_: self.watchEdits()),
        ]
        self.watchEdits()

    @property
    def state(self) -> RunState:
        return self._runs.state

    @property
    def progress(self) -> Progress | None:
        return self._runs.progress

    @property
    def busy(self) -> bool:
        return self._runs.busy

    def poll(self) -> None:
        """Hears the worker and writes for a while; what the timer calls."""
        self._runs.poll()

    def close(self) -> None:
        """Ends the thread, the timer and every observer."""
        self._runs.close()
        self._watch.unwatch()
        self._layouts.back()
        for tag in self._observed:
            slicer.mrmlScene.RemoveObserver(tag)
        self._observed = []
        self._bench.forget()

    def watchEdits(self) -> None:
        """Observes every anomaly of the scene, so that an edited one says so."""
        for nodes in ResultNodes.all():
            self._watch.watch(nodes)

    def _stateChanged(self, state: RunState) -> None:
        if self.onStateChanged is not None:
            self.onStateChanged(state)

    def _edited(self, nodes: ResultNodes) -> None:
        if self.onSegmentationEdited is not None:
            self.onSegmentationEdited(nodes)

    def _sceneCloses(self) -> None:
        self._runs.abort(_("The scene was closed; the run was cancelled."))
        self._watch.unwatch()
        self._layouts.back()
        self._bench.forget()

    def start(
        self,
        volumeNode: Any,
        options: RunOptions = _DEFAULT,
        brainMaskNode: Any = None,
        outputSegmentation: Any = None,
        *,
        onStep: OnStep | None = None,
        onProgress: OnProgress | None = None,
        onDone: OnDone | None = None,
        onError: OnError | None = None,
        onLog: OnLog | None = None,
    ) -> int:
        """Starts a run and returns its number at once; the callbacks tell the rest. Raises `UserError` for an input that cannot be used.

        `onDone` gets a `RunSummary`, also after `cancel`; `onError` a sentence and, for what nobody expected, a traceback.
        """
        self._refuseWhileBusy()
        checks.refuse(checks.checkOptions(options) + checks.checkInput(volumeNode, brainMaskNode, None))
        mask = brainMaskOf(brainMaskNode, volumeNode) if brainMaskNode is not None else None
        order = jobs.Order(newStamp(), volumeOf(volumeNode), mask, options)
        target = Target(volumeNode, options, brainMaskNode, ResultNodes.find(volumeNode), outputSegmentation, order.stamp)
        listener = listenerOf(onStep, onProgress, onDone, onError, onLog)
        return self._runs.launch(lambda control: jobs.segment(self._bench, order, control), self._receiver("new", target, listener))

    def process(
        self,
        volumeNode: Any,
        options: RunOptions = _DEFAULT,
        brainMaskNode: Any = None,
        outputSegmentation: Any = None,
        *,
        onStep: OnStep | None = None,
        onProgress: OnProgress | None = None,
        onLog: OnLog | None = None,
    ) -> RunSummary:
        """Runs to the end and returns what was found. Raises `UserError`."""
        waiting = Waiting()
        self.start(
            volumeNode,
            options,
            brainMaskNode,
            outputSegmentation,
            onStep=onStep,
            onProgress=onProgress,
            onDone=waiting.done,
            onError=waiting.failed,
            onLog=onLog,
        )
        return self._waitFor(waiting)

    def rerunShrink(
        self,
        nodes: ResultNodes,
        *,
        gamma: float | None = None,
        point: int | None = None,
        start: str | None = None,
        onStep: OnStep | None = None,
        onProgress: OnProgress | None = None,
        onDone: OnDone | None = None,
        onError: OnError | None = None,
        onLog: OnLog | None = None,
    ) -> int:
        """Runs the shrink phase alone, from the sweep already made, with another gamma, point of the curve (which wins) or start mask.

        What is not given stays as it was. Raises `UserError`.
        """
        curve, listener = self._curve(nodes), listenerOf(onStep, onProgress, onDone, onError, onLog)
        if point is not None and not 0 <= point < len(curve.thresholds):
            raise UserError(
                _("The curve has points 0 to {last}; {point} is not one of them.").format(last=len(curve.thresholds) - 1, point=point)
            )
        if gamma is None and point is None and not curve.automatic:
            point = curve.chosen
        earlier = nodes.options
        gammaNow, startNow = earlier.gamma if gamma is None else gamma, start or earlier.start
        options = replace(earlier, gamma=gammaNow, start=startNow, quality=_qualityOf(earlier, curve))
        checks.refuse(checks.checkOptions(options))
        choice = Choice(_gammaOf(curve) if gamma is None else gamma, point, options.start)
        source = self._recall(nodes, curve, listener)
        target = Target(nodes.input, options, nodes.brainMask, nodes)
        return self._runs.launch(
            lambda control: jobs.shrinkAgain(self._bench, source, choice, control), self._receiver("again", target, listener)
        )

    def continueFrom(
        self,
        nodes: ResultNodes,
        segmentationNode: Any,
        segmentId: str,
        *,
        onStep: OnStep | None = None,
        onProgress: OnProgress | None = None,
        onDone: OnDone | None = None,
        onError: OnError | None = None,
        onLog: OnLog | None = None,
    ) -> int:
        """The loop goes on from a mask the user edited, at the chosen threshold. Earlier iterations stay. Raises `UserError`."""
        curve, listener = self._curve(nodes), listenerOf(onStep, onProgress, onDone, onError, onLog)
        mask = self._gridMap(nodes).toModel(segmentsOn(segmentationNode, segmentId, nodes.input))
        if not mask.any():
            raise UserError(_("The edited mask is empty; paint what is to stay hidden from the network."))
        source = self._recall(nodes, curve, listener)
        skipped = sum(step.phase == "shrink" for step in nodes.steps)
        choice = Choice(_gammaOf(curve), None if curve.automatic else curve.chosen, "edited")
        target = Target(nodes.input, nodes.options, nodes.brainMask, nodes, edited=mask)
        return self._runs.launch(
            lambda control: jobs.goOnFrom(self._bench, source, choice, mask, skipped, control), self._receiver("onward", target, listener)
        )

    def wait(self) -> None:
        """Waits for the end of what was started, with its callbacks."""
        self._runs.wait()

    def cancel(self) -> None:
        """Ends the run before its next pass; `onDone` follows, and what was reached is kept."""
        self._runs.cancel()

    def pause(self) -> None:
        """Holds the run before its next pass."""
        self._runs.pause()

    def resume(self) -> None:
        """Lets a paused run go on."""
        self._runs.resume()

    def _refuseWhileBusy(self) -> None:
        if self.busy:
            raise UserError(_("Something is running already; cancel it or wait for its end."))

    def _receiver(self, kind: str, target: Target, listener: Listener) -> RunReceiver:
        return RunReceiver(kind, target, listener, Hooks(self._watch, self._beforeWrite, lambda: self.followRun))

    def _beforeWrite(self, node: Any) -> None:
        if self.beforeSegmentationWrite is not None:
            self.beforeSegmentationWrite(node)

    def _curve(self, nodes: ResultNodes) -> CurveInfo:
        """The curve of a result that can be gone on with. Raises `UserError`."""
        self._refuseWhileBusy()
        needInput(nodes)
        curve = nodes.curve
        if curve is None:
            raise UserError(_("The sweep of this result did not end; run Segment again."))
        return curve

    def _recall(self, nodes: ResultNodes, curve: CurveInfo, listener: Listener) -> jobs.Swept | jobs.Earlier:
        """The sweep of a result: the one on the bench where it is still there, else what the scene kept of it."""
        volume, kept = volumeOf(nodes.input), self._bench.swept
        if kept is not None and kept.order.stamp == nodes.stamp:
            if not sameVolume(volume, kept.order.volume):
                raise UserError(_("{name} has changed since the run; run Segment again.").format(name=volume.name))
            return kept
        masks = iterations.sweepMasks(nodes)
        if len(masks) <= max(curve.items) or nodes.brain is None:
            raise UserError(_("The scene does not hold the whole sweep of this result; run Segment again."))
        listener.onLog(_RECALLED)
        # The brain mask of that run, so that the model grid is the same one.
        order = jobs.Order(nodes.stamp, volume, brainMaskOf(nodes.brain, nodes.input), nodes.options)
        source = str(nodes.record.get("brainSource", ""))
        return jobs.Earlier(order, curve.thresholds, curve.median, masks, curve.items, iterations.iterationAffine(nodes), source)

    def _gridMap(self, nodes: ResultNodes) -> GridMap:
        needInput(nodes)
        return GridMap.between(
            iterations.iterationAffine(nodes), iterations.iterationShape(nodes), affineOf(nodes.input), shapeOf(nodes.input)
        )

    def _waitFor(self, waiting: Waiting) -> Any:
        self.wait()
        if waiting.sentence:
            raise UserError(waiting.sentence) if not waiting.trace else RuntimeError(f"{waiting.sentence}\n{waiting.trace}")
        return waiting.found


def _gammaOf(curve: CurveInfo) -> float | None:
    """The gamma that chose on a curve; None where the model's own threshold was used."""
    return curve.gamma if curve.fixed is None else None


def _qualityOf(options: RunOptions, curve: CurveInfo) -> str:
    """The quality of the sweep that was made: another gamma could mean another one to "auto", but the sweep stays."""
    if options.quality != "auto":
        return options.quality
    return "full" if len(set(curve.items)) == len(curve.thresholds) else "fast"
