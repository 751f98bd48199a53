"""The part of the logic that talks with the engine: models, runs, another choice, going on from an edited mask."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.wire import Message
from IterMask3DLib.scene.nodes import sequences
from IterMask3DLib.scene.nodes.edits import EditWatch
from IterMask3DLib.scene.nodes.input_check import check_input, refuse
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes, need_input
from IterMask3DLib.scene.nodes.segmentations import is_edited
from IterMask3DLib.scene.nodes.volumes import affine_of, segments_on, voxels_of
from IterMask3DLib.scene.records import Description, NeedsConfirmation, RunProgress, RunState, RunSummary
from IterMask3DLib.scene.run import conversations
from IterMask3DLib.scene.run.controller import Ask, Controller, Conversation, Job, Listener, TimerFactory
from IterMask3DLib.scene.run.engine_client import engine_command
from IterMask3DLib.scene.run.result_writer import Hooks, ResultWriter, Target
from IterMask3DLib.scene.run.transport import OpenTransport, pipes_to
from IterMask3DLib.scene.translation import tr as _
from IterMask3DLib.scene.view.layouts import Layouts

DEFAULT_REQUEST = Request()


class RunLogic:
    """Owns the engine's client and what is observed. All of it belongs to the main thread.

    What runs takes the callbacks of a `Listener` as keyword arguments; they come out of `poll`, or out of a call that
    waits. An error that is found at once is raised as `UserError`, a later one goes to `on_error`.

    Attributes:
        follow_run: whether the browser shows the newest iteration of a run.
        before_write: hears of a segmentation before the module replaces the anomaly in it.
        on_edited: hears of the result whose anomaly a user has edited; on_state_changed: of each `RunState`.
        description: what the engine said of itself last; None before it was asked.
    """

    def __init__(self, open_transport: OpenTransport | None = None, timer_factory: TimerFactory | None = None) -> None:
        self.follow_run = True
        self.before_write: Callable[[Any], None] | None = None
        self.on_edited: Callable[[ResultNodes], None] | None = None
        self.on_state_changed: Callable[[RunState], None] | None = None
        self.description: Description | None = None
        transport = open_transport or pipes_to(engine_command())
        self._controller = Controller(transport, timer_factory, partial(self._tell, "on_state_changed"))
        self._watch = EditWatch(partial(self._tell, "on_edited"))
        self._layouts = Layouts()
        # A crc of each volume that the engine holds a run of, by the run's id.
        self._volumes: dict[str, int] = {}
        scene = slicer.mrmlScene
        self._observed = [
            scene.AddObserver(scene.StartCloseEvent, lambda *_: self._scene_closes()),
            scene.AddObserver(scene.EndImportEvent, lambda *_: self._watch_edits()),
        ]
        self._watch_edits()

    # What is going on

    @property
    def state(self) -> RunState:
        return self._controller.state

    @property
    def progress(self) -> RunProgress | None:
        """What was told last of what runs."""
        return self._controller.progress

    @property
    def busy(self) -> bool:
        return self._controller.busy

    def poll(self) -> None:
        """Hears the engine and works for a while; what the timer calls."""
        self._controller.poll()

    def wait(self) -> None:
        """Waits for the end of what was started, with its callbacks."""
        while self.busy:
            self._controller.wait()

    def wait_for(self, call: Callable[..., None], *arguments: Any, **named: Any) -> Any:
        """Calls something that runs, waits for its end, and returns what `on_done` would hear.

        Raises `UserError`; `RuntimeError` with the traceback for what nobody expected.
        """
        done: list[Any] = []
        failed: list[tuple[str, str]] = []
        call(*arguments, **named, on_done=done.append, on_error=lambda *error: failed.append(error))
        while not done and not failed:
            self._controller.wait()
        if failed:
            sentence, trace = failed[0]
            raise UserError(sentence) if not trace else RuntimeError(f"{sentence}\n{trace}")
        return done[0]

    def cancel(self) -> None:
        """Ends the run after the pass that it is at; `on_done` follows, and what was reached is kept."""
        self._controller.cancel()

    def pause(self) -> None:
        """Holds the run after the pass that it is at."""
        self._controller.pause()

    def unpause(self) -> None:
        """Lets a paused run go on."""
        self._controller.unpause()

    def close(self) -> None:
        """Ends the engine, the timer and every observer."""
        self._controller.close()
        self._watch.unwatch()
        self._layouts.leave()
        for tag in self._observed:
            slicer.mrmlScene.RemoveObserver(tag)
        self._observed = []

    def _scene_closes(self) -> None:
        self._controller.end_engine(_("The scene was closed; the run was cancelled."))
        self._watch.unwatch()
        self._layouts.leave()

    def _watch_edits(self) -> None:
        for nodes in ResultNodes.all():
            self._watch.watch(nodes)

    def _tell(self, hook: str, argument: Any) -> None:
        call = getattr(self, hook)
        if call is not None:
            call(argument)

    # The engine

    def use_engine(self, open_transport: OpenTransport) -> None:
        """Another engine from now on. Raises `UserError` while something runs."""
        self._controller.refuse_while_busy()
        self._controller.use(open_transport)
        self.description = None

    def describe(self, model: str | None = None, **callbacks: Any) -> None:
        """Asks for models, methods and missing packages; also while something runs. `on_done` hears a `Description`."""

        def answer(message: Message) -> Description:
            self.description = Description.of(message.fields)
            return self.description

        self._controller.question(Ask("describe", {"model": model}), Listener(**callbacks), answer)

    def diagnostics(self, **callbacks: Any) -> None:
        """Asks for a text to paste: versions, devices, models. `on_done` hears it."""
        here = [
            f"Slicer {getattr(slicer.app, 'applicationVersion', '')} {getattr(slicer.app, 'revision', '')}".strip(),
            f"VTK {vtk.vtkVersion.GetVTKVersion()}, NumPy {np.__version__}",
        ]
        ask = Ask("diagnose")
        self._controller.question(ask, Listener(**callbacks), lambda m: "\n".join([*here, m.fields["text"]]))

    def install_model(self, source: str | Path, overwrite: bool = False, **callbacks: Any) -> None:
        """Installs a model folder or zip file; `on_done` hears its name."""
        ask = Ask("install_model", {"source": str(source), "overwrite": overwrite})
        self._begin(conversations.once(ask, lambda m: m.fields["name"]), callbacks)

    def clear_models(self, **callbacks: Any) -> None:
        """Removes the installed models; `on_done` hears how many there were."""
        self._begin(conversations.once(Ask("clear_models"), lambda m: m.fields["count"]), callbacks)

    def free_memory(self, **callbacks: Any) -> None:
        """Lets the engine forget the model and the volume of the last run; `on_done` hears a sentence."""
        sentence = _("The memory of the device was given back; the next run reads the model again.")
        self._begin(conversations.once(Ask("release"), lambda message: sentence), callbacks)

    # Runs

    def start(
        self,
        volumes: Any,
        request: Request = DEFAULT_REQUEST,
        brain_mask: Any = None,
        output_segmentation: Any = None,
        *,
        when_edited: str = "ask",
        **callbacks: Any,
    ) -> None:
        """Starts a run; `on_done` hears a `RunSummary`, also after `cancel`. Raises `UserError` for an unusable input.

        Args:
            volumes: a volume node, or one for each input of the model by its name, the reference first.
            brain_mask: label map, volume of 0 and 1, or segmentation; None: the brain is found.
            output_segmentation: one of the user's that the anomaly goes into; None: the result's own.
            when_edited: what becomes of an anomaly that a person has edited: `ask` raises `NeedsConfirmation`, `new`
                leaves it to the user and makes another segmentation, `replace` replaces it.
        """
        self._controller.refuse_while_busy()
        request.check()
        known = self.description.model(request.model) if self.description is not None else None
        channels = channels_of(volumes, known)
        refuse(check_input(channels, brain_mask))
        nodes = ResultNodes.find(next(iter(channels.values())))
        run_id = uuid.uuid4().hex
        target = Target(channels, request, brain_mask, run_id, nodes, output_segmentation)
        first = conversations.prepare(run_id, channels, request, brain_mask)
        writer = self._writer(target, when_edited, callbacks)
        self._volumes = {run_id: _crc(channels)}
        self._run(conversations.segment(writer, first), writer)

    def process(
        self,
        volumes: Any,
        request: Request = DEFAULT_REQUEST,
        brain_mask: Any = None,
        output_segmentation: Any = None,
        **more: Any,
    ) -> RunSummary:
        """Runs to the end and returns what was found; see `start`. Raises `UserError`."""
        summary: RunSummary = self.wait_for(self.start, volumes, request, brain_mask, output_segmentation, **more)
        return summary

    def choose_again(
        self,
        nodes: ResultNodes,
        *,
        gamma: float | None = None,
        point: int | None = None,
        settings: Mapping[str, Any] | None = None,
        when_edited: str = "ask",
        **callbacks: Any,
    ) -> None:
        """Makes only what comes after the threshold curve again. What is not given stays as it was. Raises `UserError`.

        Args:
            gamma: slope at the chosen point; the sweep is made again too where its few points only drew the curve of a
                threshold that the model gave.
            point: of the curve, counted from 0, which wins.
            settings: of the method, by name, e.g. the start mask.
        """
        curve = self._kept(nodes)
        if point is not None and not 0 <= point < len(curve.thresholds):
            last = len(curve.thresholds)
            raise UserError(
                _("The curve has points 1 to {last}; {point} is not one of them.", last=last, point=point + 1)
            )
        if gamma is None and point is None and curve.by_hand:
            point = curve.chosen
        request, changes = nodes.request, dict(settings or {})
        changes |= {} if gamma is None else {"gamma": gamma}
        request = replace(request, settings={**request.settings, **changes})
        edit = _edit(curve) if gamma is None else {"by": "gamma", "gamma": gamma}
        if point is not None:
            edit = {"by": "point", "point": point}
        elif gamma is not None and _only_drawn(nodes, curve):
            self.start(nodes.channels, request, nodes.brain_mask, when_edited=when_edited, **callbacks)
            return
        target = Target(nodes.channels, request, nodes.brain_mask, nodes.run_id, nodes, from_curve=True)
        self._resume(target, edit, when_edited, callbacks)

    def can_adjust(self, nodes: ResultNodes) -> bool:
        """Whether the engine remembers enough of a result to make it anew with other settings, without the passes."""
        return self._controller.client.has_state(nodes.run_id)

    def adjust(
        self, nodes: ResultNodes, settings: Mapping[str, Any], *, when_edited: str = "ask", **callbacks: Any
    ) -> None:
        """Makes a result anew with other settings of the method, of what the engine remembers. Raises `UserError`."""
        if nodes.curve is not None:
            self.choose_again(nodes, settings=settings, when_edited=when_edited, **callbacks)
            return
        self._controller.refuse_while_busy()
        need_input(nodes)
        request = replace(nodes.request, settings={**nodes.request.settings, **settings})
        target = Target(nodes.channels, request, nodes.brain_mask, nodes.run_id, nodes, from_curve=True)
        self._resume(target, {"by": "settings"}, when_edited, callbacks)

    def continue_from(
        self, nodes: ResultNodes, segmentation: Any, segment_id: str, *, when_edited: str = "ask", **callbacks: Any
    ) -> None:
        """Goes on from a mask the user drew, at the chosen threshold. Earlier iterations stay. Raises `UserError`."""
        curve = self._kept(nodes)
        mask = sequences.mask_on_model(nodes, segments_on(segmentation, segment_id, nodes.input))
        if not mask.any():
            raise UserError(_("The edited mask is empty; paint what is to stay hidden from the network."))
        before = sum(step.number > 0 for step in nodes.steps) - sequences.sweep_length(curve)
        edit = {"by": "mask", "choice": _edit(curve), "passes_before": before}
        target = Target(nodes.channels, nodes.request, nodes.brain_mask, nodes.run_id, nodes, edited_mask=mask)
        self._resume(target, edit, when_edited, callbacks)

    is_edited = staticmethod(is_edited)

    def _kept(self, nodes: ResultNodes) -> ThresholdCurve:
        """The curve of a result that can be gone on with. Raises `UserError`."""
        self._controller.refuse_while_busy()
        need_input(nodes)
        if nodes.curve is None:
            raise UserError(_("This result has no threshold curve that could be gone on with; run Segment again."))
        refuse(check_input(nodes.channels))
        known = self._volumes.get(nodes.run_id)
        if known is not None and known != _crc(nodes.channels):
            raise UserError(_("{name} has changed since the run; run Segment again.", name=nodes.input.GetName()))
        return conversations.kept_curve(nodes)

    def _resume(self, target: Target, edit: Mapping[str, Any], when_edited: str, callbacks: Mapping[str, Any]) -> None:
        assert target.nodes is not None
        writer = self._writer(target, when_edited, callbacks)
        self._volumes = {target.run_id: _crc(target.channels)}
        fields = {"edit": edit, "settings": target.request.settings}
        self._run(conversations.resume(writer, self._controller.client, target.nodes, fields), writer)

    def _writer(self, target: Target, when_edited: str, callbacks: Mapping[str, Any]) -> ResultWriter:
        """Raises `NeedsConfirmation` where an edited anomaly would be replaced without leave."""
        nodes, name = target.nodes, target.reference.GetName()
        if nodes is not None and target.segmentation is nodes.segmentation:
            target.segmentation = None
        if when_edited == "ask" and nodes is not None and is_edited(nodes, target.segmentation):
            text = _(
                "The anomaly of {name} was edited; keep it and write a new segmentation, or replace it.", name=name
            )
            raise NeedsConfirmation(text)
        target.replace_edited = when_edited == "replace"
        hooks = Hooks(self._watch, partial(self._tell, "before_write"), lambda: self.follow_run)
        return ResultWriter(target, Listener(**callbacks), hooks)

    def _run(self, conversation: Conversation, writer: ResultWriter) -> None:
        self._controller.begin(Job(conversation, writer.listener, writer.hear, writer.settle, writer.ended_by))

    def _begin(self, conversation: Conversation, callbacks: Mapping[str, Any], **more: Any) -> None:
        self._controller.begin(Job(conversation, Listener(**callbacks), **more))


def channels_of(volumes: Any, model: Mapping[str, Any] | None) -> dict[str, Any]:
    """Volumes by the names of a model's inputs; a single one takes that of the only input, "" where it is unknown."""
    if isinstance(volumes, Mapping):
        return dict(volumes)
    inputs = model["inputs"] if model is not None else []
    return {inputs[0] if len(inputs) == 1 else "": volumes}


def _only_drawn(nodes: ResultNodes, curve: ThresholdCurve) -> bool:
    """Whether the sweep visited only the points that draw the curve of a threshold that the model gave."""
    settings = nodes.provenance.get("settings", {})
    given = curve.fixed is not None or settings.get("median_multiple") is not None
    return given and len(set(curve.steps)) < len(curve.thresholds)


def _edit(curve: ThresholdCurve) -> dict[str, Any]:
    """The choice that was made on a curve; a gamma of None where it is the model's own threshold."""
    if curve.by_hand:
        return {"by": "point", "point": curve.chosen}
    return {"by": "gamma", "gamma": curve.gamma if curve.fixed is None else None}


def _crc(channels: Mapping[str, Any]) -> int:
    """Differs whenever voxels or places of volumes do."""
    crc = 0
    for node in channels.values():
        crc = zlib.crc32(affine_of(node).tobytes(), zlib.crc32(np.ascontiguousarray(voxels_of(node)).data, crc))
    return crc
