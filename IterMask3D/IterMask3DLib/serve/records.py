"""The engine's records as fields and arrays of messages, and back. Volumes travel as [k, j, i], the order VTK keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.artifacts import ThresholdCurve, artifact_from
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Affine, GridTransform, Shape
from IterMask3DLib.core.image import BoolVolume, Case, Image, PackedMask
from IterMask3DLib.core.limits import check_voxels
from IterMask3DLib.core.request import ByGamma, ByPoint, BySettings, Edit, FromMask, Request
from IterMask3DLib.core.result import MASK, CaseResult, Layer, LayerKind, Step, compact
from IterMask3DLib.core.settings import About, changed, checked
from IterMask3DLib.core.wire import Message

if TYPE_CHECKING:
    from IterMask3DLib.batch import BatchProgress
    from IterMask3DLib.preprocessing.prepare import Prepared

Arrays = dict[str, NDArray[Any]]
BRAIN, BRAIN_MASK = "brain", "brain_mask"
SERIES_BYTES = 512 * 1024**2
"""Memory that all error maps and reconstructions of a run may take at the other side; beyond it, some are left out."""

_HALF_AN_ULP, _KEPT_BITS = np.uint32(0x1000), np.uint32(0xFFFFE000)
_SAME_PLACE_MM = 1e-3
_NUMBER = About("whole", "Number", least=0)
_GAMMA = About("number", "Gamma", least=1e-9, most=1e6, optional=True)


def vtk_order(array: NDArray[Any]) -> NDArray[Any]:
    """[i, j, k] as contiguous [k, j, i]; the other way round it is `.T`."""
    return np.ascontiguousarray(array.T)


def request_of(fields: Mapping[str, Any]) -> Request:
    """The choices of a run. Raises `UserError` for an unknown name or a value that cannot be."""
    fields = dict(fields)
    settings = fields.pop("settings", {})
    return changed(Request(settings=settings), fields, "request")


def case_of(fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Case:
    """The case of a `prepare` or `write`. Raises `UserError` for what is not one finite, varying 3D volume."""
    name, channels = str(fields["case"]), list(fields["channels"])

    def image(key: str, array: str, of: str) -> Image:
        affine = np.asarray(fields["affines"].get(key, fields["affines"][of]), dtype=np.float64).reshape(4, 4)
        source = str(fields.get("sources", {}).get(key, ""))
        return Image(check_voxels(source or name, arrays[array].T, affine), affine, name, source)

    images = {channel: image(channel, f"image:{channel}", channel) for channel in channels}
    mask = image(BRAIN_MASK, BRAIN_MASK, channels[0]) if fields.get(BRAIN_MASK) else None
    return Case(name, images, mask)


def edit_of(fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prepared: Prepared) -> Edit:
    """How a run is to go on. Raises `UserError`."""
    edit = fields["edit"]
    if edit["by"] == "settings":
        return BySettings()
    if edit["by"] != "mask":
        return _choice_of(edit)
    mask = arrays[MASK].T
    if mask.shape != prepared.brain.shape:
        raise UserError(f"The mask has {mask.shape} voxels, the model's grid {prepared.brain.shape}; draw on its grid.")
    before = checked("passes_before", edit["passes_before"], _NUMBER, "edit")
    return FromMask(PackedMask.of(np.ascontiguousarray(mask != 0)), _choice_of(edit["choice"]), before)


def _choice_of(edit: Mapping[str, Any]) -> ByGamma | ByPoint:
    if edit["by"] == "point":
        return ByPoint(checked("point", edit["point"], _NUMBER, "edit"))
    return ByGamma(checked("gamma", edit.get("gamma"), _GAMMA, "edit"))


def recalled(
    fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prepared: Prepared
) -> tuple[ThresholdCurve, list[PackedMask]]:
    """The curve and the masks that a scene kept of a run. Raises `UserError` where they do not belong to this case."""
    try:
        curve = ThresholdCurve.from_record(fields["curve"])
        affine = np.asarray(fields["affine"], dtype=np.float64).reshape(4, 4)
        k, j, i = (int(n) for n in fields["shape"])
    except (KeyError, TypeError, ValueError):
        raise UserError("The threshold curve that was kept of the run cannot be read; run Segment again.") from None
    if (i, j, k) != prepared.brain.shape or not _same_place(affine, prepared.affine):
        raise UserError(f"{prepared.case.name} has changed since the run; run Segment again.")
    masks = _masks_of(arrays["masks"], (k, j, i))
    right = len(curve.steps) == len(curve.thresholds) > 0
    if not right or not 1 <= min(curve.steps) <= max(curve.steps) <= len(masks):
        raise UserError("The masks that were kept of the run are not those of its curve; run Segment again.")
    return curve, [PackedMask.of(mask.unpack().T) for mask in masks]


def _masks_of(rows: NDArray[Any], shape: Shape) -> list[PackedMask]:
    """Masks [k, j, i] of this shape, from rows of packed bits; none where the rows are not of masks of this shape."""
    right = rows.dtype == np.uint8 and rows.shape[1:] == (math.ceil(math.prod(shape) / 8),)
    return [PackedMask(row, shape) for row in rows] if right else []


def _same_place(one: Affine, other: Affine) -> bool:
    return bool(np.allclose(one, other, rtol=0, atol=_SAME_PLACE_MM))


class StepLayers:
    """The layers of a run's steps that travel: masks always, the others as long as all of them fit into `SERIES_BYTES`.

    Steps that a result could be made of always have all: a person chooses among them.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._count = self._every = 0

    def of(self, step: Step) -> tuple[dict[str, str], Arrays]:
        """The kinds of the layers and their voxels [k, j, i]."""
        whole = step.stop is not None or not self._every or self._count % self._every == 0
        self._count += 1
        layers = {name: layer for name, layer in step.layers.items() if whole or layer.kind is LayerKind.MASK}
        arrays = {name: self._voxels(layer) for name, layer in layers.items()}
        if not self._every:
            one = sum(arrays[name].nbytes for name, layer in layers.items() if layer.kind is not LayerKind.MASK)
            self._every = max(1, math.ceil(step.expected_total * one / SERIES_BYTES))
        return {name: layer.kind.value for name, layer in layers.items()}, arrays

    def _voxels(self, layer: Layer) -> NDArray[Any]:
        values = layer.read()
        if layer.kind is LayerKind.MASK:
            return vtk_order(values)
        if layer.kind is LayerKind.SCORE:
            return _rounded(values)
        return vtk_order(compact(self._prepared.unscaled(values), self._prepared.case.reference.array))


def _rounded(values: NDArray[Any]) -> NDArray[np.float32]:
    """Scores in VTK's order, to the eleven significant bits that half precision has.

    That is enough to look at, and leaves zeros behind that compress when a scene is saved.
    """
    copy = np.array(values.T, dtype=np.float32, order="C")
    bits = copy.view(np.uint32)
    bits += _HALF_AN_ULP
    bits &= _KEPT_BITS
    return copy


def step_fields(step: Step, elapsed: float, layers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "number": step.number,
        "expected_total": step.expected_total,
        "phase": step.phase,
        "seconds": step.seconds,
        "elapsed": elapsed,
        "scalars": step.scalars,
        "layers": layers,
        "resumable": step.stop is not None,
    }


def result_of(outcome: CaseResult) -> tuple[dict[str, Any], Arrays]:
    """A result as fields and arrays; its lesions are measured here."""
    from IterMask3DLib.results.case_lesions import CaseLesions

    reference = outcome.case.reference
    arrays = {name: layer.read() for name, layer in outcome.layers.items()}
    scores = [name for name, layer in outcome.layers.items() if layer.kind is LayerKind.SCORE]
    fields = {
        "layers": {name: {"kind": layer.kind.value, "unit": layer.unit} for name, layer in outcome.layers.items()},
        "scalars": outcome.scalars,
        "case_score": outcome.case_score,
        "slice_scores": outcome.slice_scores,
        "artifacts": [artifact_fields(artifact) for artifact in outcome.artifacts],
        "brain_source": outcome.brain_source,
        "brain_ml": outcome.brain_ml,
        "warnings": outcome.warnings,
        "provenance": outcome.provenance,
        "lesions": [asdict(lesion) for lesion in CaseLesions.of(outcome).lesions],
        "peak": {name: float(arrays[name].max()) for name in scores},
    }
    sent = {BRAIN: vtk_order(outcome.brain)}
    for name, layer in outcome.layers.items():
        voxels = compact(arrays[name], reference.array) if layer.kind is LayerKind.INTENSITY else arrays[name]
        sent[name] = vtk_order(voxels if voxels.dtype.kind != "f" else voxels.astype(np.float32, copy=False))
    return fields, sent


def artifact_fields(artifact: Any) -> dict[str, Any]:
    return {"kind": artifact.kind, "record": artifact.to_record()}


def batch_fields(progress: BatchProgress) -> dict[str, Any]:
    """How a batch goes; `fraction`: of all its cases."""
    message, share, step = progress.message, 0.0, progress.event
    if isinstance(step, Step):
        message, share = f"{step.phase}, pass {step.number}", step.number / max(step.number, step.expected_total)
    elif step is not None:
        message = step.text
    return {
        "name": progress.files.name,
        "path": str(progress.files.path),
        "status": progress.status,
        "message": message,
        "done": progress.done,
        "total": progress.total,
        "fraction": (progress.done + share) / progress.total,
    }


def outcome_of(message: Message) -> CaseResult:
    """The result that a door kept, as a `write` brings it: what `result_of` gave, with the images of its case."""
    fields, arrays = message.fields["result"], message.arrays
    layers = {
        name: Layer(
            kind := LayerKind(about["kind"]),
            arrays[name].T.astype(bool) if kind is LayerKind.MASK else arrays[name].T,
            about["unit"],
        )
        for name, about in fields["layers"].items()
    }
    artifacts = (artifact_from(each["kind"], each["record"]) for each in fields["artifacts"])
    case, brain = case_of(message.fields, arrays), arrays[BRAIN].T != 0
    slices = fields["slice_scores"]
    return CaseResult(
        case=case,
        brain=brain,
        brain_source=fields["brain_source"],
        brain_ml=fields["brain_ml"],
        layers=layers,
        case_score=fields["case_score"],
        slice_scores=None if slices is None else tuple(slices),
        scalars=fields["scalars"],
        artifacts=tuple(artifact for artifact in artifacts if artifact is not None),
        warnings=tuple(fields["warnings"]),
        provenance=fields["provenance"],
        iterations=_iterations_of(message, case, brain),
    )


def _iterations_of(message: Message, case: Case, brain: BoolVolume) -> tuple[Step, ...]:
    """The steps that a door kept of a run, their masks restored from the model grid when they are asked for."""
    steps = message.fields.get("iterations", [])
    layers: list[dict[str, Layer]] = [{} for _ in steps]
    if "grid" in message.fields:
        affine = np.asarray(message.fields["grid"]["affine"], dtype=np.float64).reshape(4, 4)
        k, j, i = (int(n) for n in message.fields["grid"]["shape"])
        way = GridTransform.between(affine, (i, j, k), case.reference.affine, brain.shape)
        kept = _masks_of(message.arrays["masks"], (k, j, i))
        layers = [{MASK: Layer(LayerKind.MASK, partial(_restored, mask, way, brain))} for mask in kept]
        if len(layers) != len(steps):
            raise UserError("The masks that were kept of the run are not those of its iterations; run Segment again.")
    return tuple(
        Step(step["number"], len(steps), step["phase"], step["seconds"], step["scalars"], masks)
        for step, masks in zip(steps, layers, strict=True)
    )


def _restored(mask: PackedMask, way: GridTransform, brain: BoolVolume) -> BoolVolume:
    return way.mask_to_input(mask.unpack().T) & brain
