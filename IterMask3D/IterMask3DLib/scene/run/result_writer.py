"""Turns what the engine says of a run into nodes, in small portions, so that the main thread never stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from IterMask3DLib.core.geometry import Affine
from IterMask3DLib.core.lesion import Lesion
from IterMask3DLib.core.progress import Pace, clock
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import ANOMALY, LayerKind, Step
from IterMask3DLib.core.wire import Message
from IterMask3DLib.scene.nodes import curve, lesions, names, segmentations, sequences, slice_scores
from IterMask3DLib.scene.nodes.edits import EditWatch
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes, layer_class
from IterMask3DLib.scene.nodes.volumes import affine_of, set_voxels
from IterMask3DLib.scene.records import RunProgress, RunSummary, found_text
from IterMask3DLib.scene.run.controller import Listener, Portion
from IterMask3DLib.scene.translation import tr as _
from IterMask3DLib.scene.view.displays import show_by_kind, show_from, show_steps

_RECORDS = ("layers", "scalars", "case_score", "slice_scores", "brain_source", "brain_ml", "warnings", "provenance")
"""Fields of the engine's result that the scene keeps beside volumes, artifacts and lesions."""


@dataclass
class Target:
    """Where a run writes.

    Attributes:
        channels, brain_mask: nodes that the user gave; request: the choices.
        run_id: of the run that can be gone on with.
        nodes: None until there is something to write.
        segmentation: one of the user's that the anomaly is to go into, or None.
        replace_edited: whether an anomaly that a person edited before the run is replaced; else another one is made.
        edited_mask: bool [k, j, i] on the model grid, that the run goes on from; None for other runs.
        from_curve: whether only what comes after the threshold curve, where there is one, is made again.
    """

    channels: Mapping[str, Any]
    request: Request
    brain_mask: Any
    run_id: str
    nodes: ResultNodes | None
    segmentation: Any = None
    replace_edited: bool = False
    edited_mask: NDArray[np.bool_] | None = None
    from_curve: bool = False

    @property
    def reference(self) -> Any:
        return next(iter(self.channels.values()))


@dataclass
class Hooks:
    """What the logic adds: the guard around own writing, the undo checkpoint, and whether the browser follows."""

    watch: EditWatch
    before_write: Callable[[Any], None]
    follow: Callable[[], bool]


@dataclass
class ResultWriter:
    """Writes one run."""

    target: Target
    listener: Listener
    hooks: Hooks
    _affine: Affine | None = None
    _brain_ml: float = 0.0
    _pace: Pace = field(default_factory=Pace)
    _begun: bool = False
    _placed: bool = False
    _newest: int | None = None
    _layers: set[str] = field(default_factory=set)
    _segment_before: tuple[Any, ...] = ()
    _outcome: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.target.nodes is not None:
            self._segment_before = self._segment_now(self.target.nodes)

    def ended_by(self) -> str:
        """Why the run cannot go on; "" where it can."""
        if not all(slicer.mrmlScene.IsNodePresent(node) for node in self.target.channels.values()):
            return _("The volume was removed from the scene; the run was cancelled.")
        nodes = self.target.nodes
        if nodes is None:
            return ""
        needed = [nodes.browser, nodes.iteration_table, *map(nodes.sequence, self._layers)] if self._begun else []
        if slicer.mrmlScene.IsNodePresent(nodes.root) and None not in needed:
            return ""
        return _("A part of the result was removed from the scene; the run was cancelled.")

    def prepared(self, message: Message) -> None:
        """Hears on which grid the network sees the volume."""
        self._affine = np.array(message.fields["affine"], dtype=float)
        self._brain_ml = message.fields["brain_ml"]

    def hear(self, message: Message) -> Iterator[Portion]:
        """What is to be done about a message of the run."""
        fields = message.fields
        if message.kind == "phase":
            fraction = 0.0 if fields["name"] == "prepare" else 1.0 if fields["name"] == "restore" else None
            if fraction is not None:
                yield lambda: self._tell(RunProgress(fields["name"], _sentence(fields["text"]), fraction))
        elif message.kind == "step":
            yield from self._step(message)
        elif message.kind == "artifact":
            yield self._ensure
            yield partial(self._artifact, fields["kind"], fields["record"])
        elif message.kind == "result":
            yield from self._result(message)

    def settle(self) -> None:
        """Shows the newest iteration, once for all that were written since."""
        nodes, newest, self._newest = self.target.nodes, self._newest, None
        if newest is not None and nodes is not None and (self.hooks.follow() or newest == 0):
            show_iteration(nodes, newest)

    def finish(self, done: Message) -> RunSummary:
        """The end of the run."""
        cancelled, seconds = done.fields["cancelled"], done.fields["seconds"]
        nodes = self.target.nodes
        if not self._begun or nodes is None:
            text = _("Cancelled before the first pass; nothing was changed.")
            return RunSummary(None, True, None, (), (), seconds, text)
        sequences.end_iterations(nodes)
        nodes.place()
        found, warnings = self._lesions(), tuple(self._outcome.get("warnings", ()))
        for warning in warnings:
            self.listener.on_log(warning)
        ml = sum(lesion.volume_ml for lesion in found) if ANOMALY in self._outcome.get("layers", ()) else None
        what = self._what_was_found(ml, len(found))
        if cancelled:
            text = _("Cancelled; {kept} iterations are kept ({found}).", kept=len(nodes.steps), found=what)
        else:
            text = _("{found}, {seconds:.0f} s.", found=what[:1].upper() + what[1:], seconds=seconds)
        return RunSummary(nodes, cancelled, ml, found, warnings, seconds, text)

    @property
    def _nodes(self) -> ResultNodes:
        assert self.target.nodes is not None
        return self.target.nodes

    def _tell(self, progress: RunProgress) -> None:
        self.listener.on_progress(progress)

    def _ensure(self) -> None:
        """The nodes of this run, made or cut back when the first thing comes that belongs into them."""
        if self._begun:
            return
        self._begun, target = True, self.target
        if target.edited_mask is not None:
            sequences.append_edited(self._nodes, target.edited_mask, sequences.model_affine(self._nodes))
        elif target.from_curve:
            self._nodes.set_request(target.request)
            kept = self._nodes.curve
            if kept is not None:
                sequences.cut_iterations(self._nodes, sequences.sweep_length(kept))
        else:
            target.nodes = target.nodes or ResultNodes.create(target.channels)
            target.nodes.begin(target.run_id, target.request, target.channels, target.brain_mask)
            target.nodes.root.SetParameter(names.BRAIN_ML, str(self._brain_ml))
            sequences.begin_iterations(target.nodes)
            forget_outcome(target.nodes)

    def _step(self, message: Message) -> Iterator[Portion]:
        yield self._ensure
        nodes = self._nodes
        affine = self._affine if self._affine is not None else sequences.model_affine(nodes)
        item = len(nodes.steps)
        for name, kind in message.fields["layers"].items():
            yield partial(sequences.write_volume, nodes, name, LayerKind(kind), item, message.arrays[name], affine)
            self._layers.add(name)
        yield lambda: self._numbers(message.fields, item)

    def _numbers(self, fields: Mapping[str, Any], item: int) -> None:
        step = Step(fields["number"], fields["expected_total"], fields["phase"], fields["seconds"], fields["scalars"])
        sequences.append(self._nodes, step)
        if not self._placed:
            self._placed = True
            self._nodes.place()
        self._newest = item
        at = self._pace.after(fields["elapsed"], step.seconds, step.expected_total - step.number)
        assert at.remaining is not None
        text = _(
            "{phase} ({done} of about {total}), {time} left",
            phase=_told(step.phase),
            done=at.done,
            total=at.total,
            time=clock(at.remaining),
        )
        self._tell(RunProgress(step.phase, text, at.fraction, at.done, at.total, at.remaining))
        self.listener.on_step(item, step)

    def _artifact(self, kind: str, record: Mapping[str, Any]) -> None:
        self._nodes.set_artifact(kind, record)
        chosen = self._nodes.curve if kind == curve.KIND else None
        if chosen is not None:
            curve.write_curve(self._nodes, chosen)

    def _result(self, message: Message) -> Iterator[Portion]:
        yield self._ensure
        fields, arrays, affine = message.fields, message.arrays, affine_of(self.target.reference)
        yield lambda: self._tell(RunProgress("write", _("Writing the result"), 1.0))
        for artifact in fields["artifacts"]:
            yield partial(self._artifact, artifact["kind"], artifact["record"])
        self._nodes.set_json(names.OUTCOME, {name: fields[name] for name in _RECORDS})
        if fields["slice_scores"]:
            yield partial(slice_scores.write_slice_scores, self._nodes, fields["slice_scores"])
        for name, about in fields["layers"].items():
            kind = LayerKind(about["kind"])
            if name == ANOMALY:
                yield partial(self._write_segment, arrays[name])
            else:
                peak = fields["peak"].get(name, 0.0)
                yield partial(self._write_layer, name, kind, arrays[name], affine, peak)
        yield partial(self._write_volume, "brain", "brain mask", LayerKind.MASK, arrays["brain"], affine)
        self._outcome = fields
        if ANOMALY in fields["layers"]:
            yield lambda: lesions.write_lesions(self._nodes, self._lesions())

    def _write_volume(self, role: str, shown: str, kind: LayerKind, array: NDArray[Any], affine: Affine) -> Any:
        node = self._nodes.own(role, shown, layer_class(kind))
        # Before the voxels: a display that still chooses its own window counts them all.
        show_by_kind(node, kind, self._nodes.input)
        set_voxels(node, array, affine)
        return node

    def _write_layer(self, name: str, kind: LayerKind, array: NDArray[Any], affine: Affine, peak: float) -> None:
        node = self._write_volume(f"{names.LAYER}{name}", name.replace("_", " "), kind, array, affine)
        node.SetAttribute(names.KIND, kind.value)
        if kind is LayerKind.SCORE:
            node.GetDisplayNode().SetWindowLevelMinMax(0.0, peak or 1.0)
            show_from(node, self._nodes.least_shown)

    def _write_segment(self, anomaly: NDArray[np.uint8]) -> None:
        nodes, given = self._nodes, self.target.segmentation
        edited = segmentations.is_edited(nodes, given)
        since = edited and self._segment_now(nodes) != self._segment_before
        with self.hooks.watch.own_writing(nodes):
            if since or (edited and not self.target.replace_edited):
                if since:
                    text = _("The anomaly was edited during the run: the result is in a segmentation of its own.")
                    self.listener.on_log(text)
                node = segmentations.new_segmentation(nodes)
            else:
                node = segmentations.ensure_segmentation(nodes, given)
            self.hooks.before_write(node)
            segmentations.write_segment(node, segmentations.ensure_segment(nodes), anomaly, nodes.input)
            drawn = self.target.edited_mask is not None
            (segmentations.tag_continued if drawn else segmentations.tag_automatic)(nodes)

    def _segment_now(self, nodes: ResultNodes) -> tuple[Any, ...]:
        return segmentations.is_edited(nodes, self.target.segmentation), *segmentations.fingerprint(nodes)

    def _lesions(self) -> tuple[Lesion, ...]:
        rows = self._outcome.get("lesions", ())
        return tuple(Lesion(**{**row, "centroid_ras": tuple(row["centroid_ras"])}) for row in rows)

    def _what_was_found(self, ml: float | None, count: int) -> str:
        if ml is not None:
            return found_text(ml, count)
        score = self._outcome.get("case_score")
        if score is not None:
            return _("score {score:.3g}", score=score)
        return _("done") if self._outcome else _("no threshold was chosen yet")


def show_iteration(nodes: ResultNodes, item: int) -> None:
    """Steps the sequence browser, and with it every layer of the steps."""
    sequences.select(nodes, item)
    show_steps(nodes)


def forget_outcome(nodes: ResultNodes) -> None:
    """Takes away what an earlier run found, so that a cancelled one is not mistaken for it; but not the anomaly."""
    for role in (*(f"{names.LAYER}{name}" for name in nodes.layers), "brain", *curve.ROLES, *slice_scores.ROLES):
        nodes.discard(role)
    if nodes.lesion_table is not None:
        lesions.write_lesions(nodes, ())


def _told(phase: str) -> str:
    """What a phase does, in words for who does not know the method; a stranger's phase has its own name."""
    known = {
        "shrink": _("Outlining what differs"),
        **dict.fromkeys(("sweep", "score"), _("Comparing with healthy brains")),
    }
    return known.get(phase) or _sentence(phase)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
