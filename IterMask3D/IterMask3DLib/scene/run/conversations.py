"""What is asked of the engine for each thing that the logic can do, one request after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import MASK
from IterMask3DLib.core.wire import Message
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.nodes.sequences import iteration_mask, model_affine, sweep_length
from IterMask3DLib.scene.nodes.volumes import affine_of, brain_mask_on, source_of, voxels_of
from IterMask3DLib.scene.records import BatchCase, BatchSummary, RunProgress
from IterMask3DLib.scene.run.controller import Ask, Conversation, Listener, Portion
from IterMask3DLib.scene.run.engine_client import EngineClient
from IterMask3DLib.scene.run.result_writer import ResultWriter
from IterMask3DLib.scene.translation import tr as _


def images_of(channels: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The volumes of a case as fields and arrays of a request."""
    fields = {
        "case": next(iter(channels.values())).GetName(),
        "channels": list(channels),
        "affines": {name: affine_of(node) for name, node in channels.items()},
        "sources": {name: source_of(node) for name, node in channels.items()},
    }
    return fields, {f"image:{name}": voxels_of(node) for name, node in channels.items()}


def prepare(
    key: str, channels: Mapping[str, Any], request: Request, brain_mask: Any, brain_source: str | None = None
) -> Ask:
    """Asks for a case on the grid of its model.

    Args:
        key: names it from now on.
        brain_mask: a node, or None.
        brain_source: where the mask was taken from, if another word is to be kept than the node's name.

    Raises:
        UserError: for an empty mask.
    """
    fields, arrays = images_of(channels)
    fields |= {"key": key, "request": asdict(request), "brain_mask": brain_mask is not None}
    if brain_mask is not None:
        arrays["brain_mask"] = brain_mask_on(brain_mask, next(iter(channels.values())))
        fields["sources"]["brain_mask"] = brain_mask.GetName()
    if brain_source is not None:
        fields["brain_source"] = brain_source
    return Ask("prepare", fields, arrays)


def segment(writer: ResultWriter, first: Ask) -> Conversation:
    """A whole run. `first`: what prepares the case."""
    answer = yield first
    if answer.kind == "prepared":
        writer.prepared(answer)
        answer = yield Ask("infer", {"key": first.fields["key"]})
    return writer.finish(answer)


def resume(writer: ResultWriter, client: EngineClient, nodes: ResultNodes, fields: Mapping[str, Any]) -> Conversation:
    """Goes on from a run: of the engine's own memory where it still holds it, else of what the scene has kept.

    Args:
        fields: of the request `resume`; the mask of an edit is taken from the writer's target.
    """
    key = nodes.run_id
    if not client.has_state(key):
        curve = kept_curve(nodes)
        writer.listener.on_log(_("The sweep is taken from the scene; only the volume is prepared again."))
        # With the brain of that run, so that the model grid is the same one.
        source = str(nodes.outcome.get("brain_source", ""))
        answer = yield prepare(key, nodes.channels, nodes.request, nodes.brain, source)
        if answer.kind != "prepared":
            return writer.finish(answer)
        writer.prepared(answer)
        rows = []
        for item in range(sweep_length(curve)):
            rows.append(np.packbits(voxels_of(iteration_mask(nodes, item))))
            yield None
        shape = voxels_of(iteration_mask(nodes, 0)).shape
        sweep = {"key": key, "curve": curve.to_record(), "affine": model_affine(nodes), "shape": shape}
        answer = yield Ask("recall", sweep, {"masks": np.stack(rows)})
        if answer.kind != "recalled":
            return writer.finish(answer)
    mask = writer.target.edited_mask
    arrays = {} if mask is None else {MASK: mask.view(np.uint8)}
    answer = yield Ask("resume", {"key": key, **fields}, arrays)
    return writer.finish(answer)


def kept_curve(nodes: ResultNodes) -> ThresholdCurve:
    """The curve of a result that the scene has kept everything of. Raises `UserError`."""
    curve, sequence = nodes.curve, nodes.sequence(MASK)
    count = sequence.GetNumberOfDataNodes() if sequence is not None else 0
    if curve is None or nodes.brain is None or count < sweep_length(curve):
        raise UserError(_("The scene does not hold the whole sweep of this result; run Segment again."))
    return curve


def once(ask: Ask, answer: Any) -> Conversation:
    """One request; `answer` makes what is wanted of the message that ends it."""
    message = yield ask
    return answer(message)


class BatchListener:
    """Hears of a batch, whose cases the engine reads and writes. `on_case` hears every change of a case."""

    def __init__(self, listener: Listener, on_case: Any) -> None:
        self._listener, self._on_case = listener, on_case
        self._cases: dict[str, BatchCase] = {}

    def hear(self, message: Message) -> Iterator[Portion]:
        if message.kind == "case":
            yield lambda: self._case(message.fields)

    def finish(self, message: Message) -> BatchSummary:
        cases = tuple(self._cases.values())
        counted = {status: sum(case.status == status for case in cases) for status in ("done", "failed", "skipped")}
        parts = [
            _("{count} done", count=counted["done"]),
            _("{count} failed", count=counted["failed"]) if counted["failed"] else "",
            _("{count} skipped, they were there already", count=counted["skipped"]) if counted["skipped"] else "",
            _("stopped before the rest") if message.fields["cancelled"] else "",
        ]
        return BatchSummary(cases, message.fields["cancelled"], f"{', '.join(filter(None, parts))}.")

    def _case(self, fields: Mapping[str, Any]) -> None:
        case = BatchCase(fields["name"], fields["path"], fields["status"], fields["message"])
        self._cases[case.name] = case
        done, total = fields["done"], fields["total"]
        text = _("Case {number} of {total}: {name}", number=min(done + 1, total), total=total, name=case.name)
        self._listener.on_progress(RunProgress("batch", text, fields["fraction"], done, total))
        self._on_case(case)
