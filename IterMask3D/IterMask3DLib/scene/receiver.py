"""Turns what the worker says into nodes, in small portions, so that the main thread never stands still."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import slicer

from IterMask3DLib.core.image import BoolVolume
from IterMask3DLib.scene import iterations, lesion_nodes, names, tables, volumes
from IterMask3DLib.scene.curves import writeCurve
from IterMask3DLib.scene.edits import EditWatch
from IterMask3DLib.scene.hierarchy import placeResults
from IterMask3DLib.scene.messages import (
    CurveMessage,
    EndMessage,
    FailMessage,
    GridMessage,
    Message,
    OutcomeMessage,
    PhaseMessage,
    StepMessage,
)
from IterMask3DLib.scene.nodes import ResultNodes
from IterMask3DLib.scene.pace import Pace, waiting
from IterMask3DLib.scene.records import LesionRow, Progress, RunOptions, RunSummary, StepInfo
from IterMask3DLib.scene.segmentations import ensureSegment, ensureSegmentation, tagAutomatic, tagEdited, writeSegment
from IterMask3DLib.scene.words import tr as _

Task = Callable[[], None]


def _ignore(*_: Any) -> None:
    """What is called where nobody listens."""


def _log(sentence: str, trace: str) -> None:
    """An error that nobody listens for must not be lost."""
    logging.getLogger("IterMask3D").error("%s", f"{sentence}\n{trace}".strip())


@dataclass
class Listener:
    """Who hears of a job, on the main thread."""

    onStep: Callable[[StepInfo], None] = _ignore
    onProgress: Callable[[Progress], None] = _ignore
    onDone: Callable[[Any], None] = _ignore
    onError: Callable[[str, str], None] = _log
    onLog: Callable[[str], None] = _ignore


@dataclass
class Target:
    """Where a run writes. `nodes`: None until there is something to write; `edited`: the mask a run goes on from, [x, y, z] on the model grid."""

    inputNode: Any
    options: RunOptions
    brainMaskNode: Any = None
    nodes: ResultNodes | None = None
    segmentation: Any = None
    stamp: str = ""
    edited: BoolVolume | None = None


@dataclass
class Hooks:
    """What the logic adds: the guard around its own writing, and the undo checkpoint before a segment is replaced."""

    watch: EditWatch
    beforeWrite: Callable[[Any], None]
    follow: Callable[[], bool]


@dataclass
class RunReceiver:
    """One run: `kind` is new (a whole run), again (another choice on the curve) or onward (from an edited mask)."""

    kind: str
    target: Target
    listener: Listener
    hooks: Hooks
    _grid: GridMessage | None = None
    _pace: Pace = field(default_factory=lambda: Pace(0))
    _begun: bool = False
    _passes: int = 0
    _newest: int | None = None
    _lesions: tuple[LesionRow, ...] = ()
    _outcome: bool = False
    _warnings: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the input is still in the scene."""
        return bool(slicer.mrmlScene.IsNodePresent(self.target.inputNode))

    def tasks(self, message: Message) -> Iterator[Task]:
        """What is to be done about a message, as pieces that may be run one by one."""
        if isinstance(message, PhaseMessage):
            yield lambda: self._tell(waiting(message.phase, message.text, 0.0 if message.phase == "prepare" else 1.0))
        elif isinstance(message, GridMessage):
            self._grid, self._pace = message, Pace(message.passes if self.kind == "new" else 0)
        elif isinstance(message, StepMessage):
            yield from self._step(message)
        elif isinstance(message, CurveMessage):
            yield self._ensure
            yield lambda: writeCurve(self._nodes, message.curve)
        elif isinstance(message, OutcomeMessage):
            yield from self._write(message)
        elif isinstance(message, EndMessage):
            yield lambda: self._end(message)
        elif isinstance(message, FailMessage):
            yield lambda: self._fail(message)

    def settle(self) -> None:
        """Shows the newest iteration, once for all that were written since."""
        if self._newest is not None and self.target.nodes is not None:
            if self.hooks.follow() or self._newest == 0:
                iterations.select(self.target.nodes, self._newest)
            self._newest = None

    @property
    def _nodes(self) -> ResultNodes:
        assert self.target.nodes is not None
        return self.target.nodes

    def _tell(self, progress: Progress) -> None:
        self.listener.onProgress(progress)

    def _ensure(self) -> None:
        """The nodes of this run, made or cut back when the first thing comes that belongs into them."""
        if self._begun:
            return
        self._begun = True
        target = self.target
        if self.kind == "new":
            target.nodes = target.nodes or ResultNodes.create(target.inputNode)
            target.nodes.begin(target.stamp, target.options, target.brainMaskNode)
            iterations.beginIterations(target.nodes)
            forgetOutcome(target.nodes)
        elif self.kind == "again":
            self._nodes.setOptions(target.options)
            swept = sum(step.phase == "sweep" for step in self._nodes.steps)
            iterations.cutIterations(self._nodes, swept)
        else:
            assert target.edited is not None
            curve = self._nodes.curve
            assert curve is not None and self._grid is not None
            iterations.addEdited(self._nodes, target.edited, curve.threshold, self._grid.brainMl)
        self._passes = max((step.number for step in self._nodes.steps), default=0)

    def _step(self, message: StepMessage) -> Iterator[Task]:
        yield self._ensure
        nodes, grid = self._nodes, self._grid
        assert grid is not None
        item = nodes.maskSequence.GetNumberOfDataNodes()
        series = {"maskSequence": message.mask, "errorSequence": message.error, "reconstructionSequence": message.reconstruction}
        for role, array in series.items():
            if array is not None:
                yield partial(iterations.writeVolume, nodes, role, item, array, grid.affine)
        yield lambda: self._numbers(message, item)

    def _numbers(self, message: StepMessage, item: int) -> None:
        assert self._grid is not None
        self._passes += 1
        info = iterations.writeNumbers(self._nodes, message, item, self._passes, self._grid.brainMl)
        self._newest = item
        self._tell(self._pace.of(message))
        self.listener.onStep(info)

    def _write(self, message: OutcomeMessage) -> Iterator[Task]:
        nodes = self._nodes
        self._outcome, self._lesions, self._warnings = True, message.lesions, message.warnings
        curve = nodes.curve
        assert curve is not None
        yield lambda: self._tell(waiting("write", _("Writing the result"), 1.0))
        yield lambda: volumes.writeHeatmap(nodes, message, curve.threshold)
        yield lambda: volumes.writeReconstruction(nodes, message)
        yield lambda: volumes.writeBrain(nodes, message)
        yield lambda: self._writeSegment(message.anomaly)
        yield lambda: lesion_nodes.writeLesions(nodes, message.lesions)
        yield lambda: self._writeRecords(message)

    def _writeSegment(self, anomaly: np.ndarray[Any, Any]) -> None:
        nodes = self._nodes
        with self.hooks.watch.ownWriting():
            node = ensureSegmentation(nodes, self.target.segmentation)
            self.hooks.beforeWrite(node)
            writeSegment(node, ensureSegment(nodes), anomaly, nodes.input)
            # A mask that a person drew has gone into this one.
            (tagEdited if self.kind == "onward" else tagAutomatic)(nodes)
        self.hooks.watch.watch(nodes)

    def _writeRecords(self, message: OutcomeMessage) -> None:
        self._nodes.setJson(names.RECORD, message.record)
        self._nodes.setJson(names.PROVENANCE, message.provenance)

    def _fail(self, message: FailMessage) -> None:
        if self._begun:
            placeResults(self._nodes)
        self.listener.onError(message.sentence, message.trace)

    def _end(self, message: EndMessage) -> None:
        nodes = self.target.nodes
        if not self._begun or nodes is None:
            text = _("Cancelled before the first pass; nothing was changed.")
            self.listener.onDone(RunSummary(None, True, None, (), (), message.seconds, text))
            return
        placeResults(nodes)
        for warning in self._warnings:
            self.listener.onLog(warning)
        self.listener.onDone(self._summary(nodes, message))

    def _summary(self, nodes: ResultNodes, message: EndMessage) -> RunSummary:
        ml = sum(lesion.volumeMl for lesion in self._lesions) if self._outcome else None
        found, kept = _found(ml, len(self._lesions)), len(nodes.steps)
        if message.cancelled:
            text = _("Cancelled; {kept} iterations are kept ({found}).").format(kept=kept, found=found)
        else:
            text = _("Anomaly: {found}, {seconds:.0f} s.").format(found=found, seconds=message.seconds)
        return RunSummary(nodes, message.cancelled, ml, self._lesions, self._warnings, message.seconds, text)


def _found(ml: float | None, count: int) -> str:
    if ml is None:
        return _("no threshold was chosen yet")
    return (_("{ml:.1f} ml in 1 lesion") if count == 1 else _("{ml:.1f} ml in {count} lesions")).format(ml=ml, count=count)


def forgetOutcome(nodes: ResultNodes) -> None:
    """Takes away what an earlier run found, so that a cancelled one is not mistaken for it; the segmentation is the user's."""
    for role in (
        "heatmap",
        "reconstruction",
        "brain",
        "curveChart",
        "thresholdSeries",
        "fitSeries",
        "chosenSeries",
        "curveTable",
        "chosenTable",
    ):
        nodes.discard(role)
    if nodes.lesionTable is not None:
        tables.writeLesions(nodes.lesionTable, ())
