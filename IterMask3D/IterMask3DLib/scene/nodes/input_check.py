"""What is wrong or odd about an input, in words, before anything is computed; of large volumes a sample is checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import voxel_millilitres
from IterMask3DLib.core.limits import check_voxels
from IterMask3DLib.scene.nodes.volumes import affine_of, parent_transform, shape_of, voxels_of
from IterMask3DLib.scene.records import InputCheck, Severity
from IterMask3DLib.scene.translation import tr as _

_SAMPLES = 60
"""Voxels along each axis that are looked at."""

_BRAIN_ML = (600.0, 2200.0)
_COARSE_MM, _UNEVEN = 3.0, 2.5
_FEW_VALUES = 16
_CT_AIR = -500.0
_CORNER_SHARE = 0.1

_MODALITIES = {
    "T1w": r"t1w?|mp2?rage|spgr|bravo",
    "T2w": r"t2w?",
    "FLAIR": r"flair|tirm|t2f",
    "PD": r"pdw?",
    "DWI": r"dwi|adc|dti|trace",
    "SWI": r"swi|gre|t2star",
    "CT": r"ct",
}
_TOKEN = re.compile(r"[a-z0-9]+")


def check_input(
    channels: Mapping[str, Any], brain_mask: Any = None, model: Mapping[str, Any] | None = None
) -> list[InputCheck]:
    """What there is to say, the worst first. Never raises for what a user can have chosen.

    Args:
        channels: volume nodes by the model's inputs; a single one may have any name.
        model: as the engine describes it.
    """
    if not channels or None in channels.values():
        return [InputCheck(Severity.ERROR, _("No volume is chosen."))]
    checks = _model(model)
    inputs = list(model["inputs"]) if model is not None else []
    for number, (name, node) in enumerate(channels.items()):
        unusable = _unusable(node)
        if unusable:
            checks.append(InputCheck(Severity.ERROR, unusable))
            continue
        array = voxels_of(node)[tuple(slice(None, None, max(1, n // _SAMPLES)) for n in shape_of(node)[::-1])]
        checks += _values(node.GetName(), array) or [
            *_frame(node),
            *_geometry(node),
            *(_brain(node, array, brain_mask) if number == 0 else ()),
            *_modality(node, inputs[0] if len(inputs) == len(channels) == 1 else name),
        ]
    order = list(Severity)
    return sorted(dict.fromkeys(checks), key=lambda check: order.index(check.severity))


def refuse(checks: list[InputCheck]) -> None:
    """Raises `UserError` with the first check that makes an input unusable."""
    for check in checks:
        if check.severity is Severity.ERROR:
            raise UserError(check.text)


def _model(model: Mapping[str, Any] | None) -> list[InputCheck]:
    return [InputCheck(Severity.ERROR, model["problem"])] if model is not None and model["problem"] else []


def _unusable(node: Any) -> str:
    """Why a node is no volume that a run can be made on; "" where it is one."""
    name = node.GetName()
    if node.IsA("vtkMRMLSequenceNode"):
        return _("{name} is a sequence; choose the volume that shows one of its frames.", name=name)
    if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLTensorVolumeNode"):
        return _("{name} is not a scalar volume; choose one with a single number a voxel.", name=name)
    image = node.GetImageData()
    # An image has its size before its voxels while it is being made.
    if image is None or min(shape_of(node)) < 2 or image.GetPointData().GetScalars() is None:
        return _("{name} holds no 3D image; load the volume again.", name=name)
    if image.GetNumberOfScalarComponents() != 1:
        return _(
            "{name} holds {count} numbers a voxel: it is in colour, or 4D; make a volume of one of them.",
            name=name,
            count=image.GetNumberOfScalarComponents(),
        )
    transform = parent_transform(node)
    if transform is not None:
        return _(
            "{name} hangs under the transform {transform}; harden the transform first.",
            name=name,
            transform=transform.GetName(),
        )
    try:
        check_voxels(name, voxels_of(node), affine_of(node))
    except UserError as error:
        return str(error)
    return ""


def _values(name: str, array: NDArray[Any]) -> list[InputCheck]:
    values = np.unique(array)
    if len(values) <= _FEW_VALUES:
        text = _(
            "{name} has only {count} different values: it looks like a label map, not an MR volume.",
            name=name,
            count=len(values),
        )
        return [InputCheck(Severity.WARNING, text)]
    if values[0] < _CT_AIR:
        text = _("{name} goes down to {value:g}: it looks like a CT, not an MR volume.", name=name, value=values[0])
        return [InputCheck(Severity.WARNING, text)]
    return []


def _frame(node: Any) -> list[InputCheck]:
    """Which frame of a sequence a volume shows, where it is one."""
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        if browser.IsProxyNode(node.GetID()):
            number, count = browser.GetSelectedItemNumber() + 1, browser.GetNumberOfItems()
            text = _("Frame {number} of {count} of a sequence is taken, as it is shown.", number=number, count=count)
            return [InputCheck(Severity.INFO, text)]
    return []


def _geometry(node: Any) -> list[InputCheck]:
    spacing = np.array(node.GetSpacing())
    size = " x ".join(f"{s:.2g}" for s in spacing)
    if spacing.max() > _COARSE_MM:
        text = _("Voxels are {size} mm; small lesions can be missed and edges can look anomalous.", size=size)
    elif spacing.max() > _UNEVEN * spacing.min():
        text = _("Voxels are {size} mm, far from cubes; details along the thick side are interpolated.", size=size)
    else:
        return []
    return [InputCheck(Severity.WARNING, text)]


def _brain(node: Any, array: NDArray[Any], mask: Any) -> list[InputCheck]:
    """Whether there can be a brain, and where it is taken from."""
    whole_ml = float(np.prod(shape_of(node))) * voxel_millilitres(affine_of(node))
    if whole_ml < _BRAIN_ML[0]:
        text = _("{name} covers {ml:,.0f} ml, less than a brain.", name=node.GetName(), ml=whole_ml)
        return [InputCheck(Severity.WARNING, text)]
    if mask is not None:
        problem = _unusable_mask(node, mask)
        return [InputCheck(Severity.ERROR, problem)] if problem else []
    corners = array[np.ix_((0, -1), (0, -1), (0, -1))]
    background = corners.flat[0]
    share = float((array != background).mean())
    brain_ml = share * whole_ml
    if (corners == background).all() and share <= 1 - _CORNER_SHARE:
        if brain_ml < _BRAIN_ML[0]:
            text = _(
                "Only {ml:,.0f} ml of {name} are not background: there is no whole brain.",
                ml=brain_ml,
                name=node.GetName(),
            )
            return [InputCheck(Severity.WARNING, text)]
        if brain_ml <= _BRAIN_ML[1]:
            return [InputCheck(Severity.INFO, _("The volume is skull-stripped already."))]
    text = _("The volume has a skull: it is stripped first. Look at the brain mask that comes with the result.")
    return [InputCheck(Severity.INFO, text)]


def _unusable_mask(node: Any, mask: Any) -> str:
    name = mask.GetName()
    if parent_transform(mask) is not None:
        return _("The brain mask {name} hangs under a transform; harden the transform first.", name=name)
    if mask.IsA("vtkMRMLSegmentationNode"):
        if mask.GetSegmentation().GetNumberOfSegments() == 0:
            return _("The brain mask {name} has no segment; draw the brain or choose another mask.", name=name)
        return ""
    if mask.GetImageData() is None:
        return _("The brain mask {name} holds no image; load it again.", name=name)
    if shape_of(mask) != shape_of(node) or not np.allclose(affine_of(mask), affine_of(node), atol=1e-2):
        return _(
            "The brain mask {name} is not on the grid of {volume}; resample it to that grid.",
            name=name,
            volume=node.GetName(),
        )
    return ""


def _modality(node: Any, wanted: str) -> list[InputCheck]:
    """Doubts whether a volume is of the modality that the model's input is named by."""
    found = _dicom_modality(node)
    if found and found != "MR":
        text = _("{name} is {found} by its DICOM header, not MR.", name=node.GetName(), found=found)
        return [InputCheck(Severity.WARNING, text)]
    guesses = _guess(node.GetName()) if wanted else set()
    if guesses and wanted not in guesses:
        text = _(
            "{name} looks like {guesses} by its name; the model was trained on {wanted}.",
            name=node.GetName(),
            guesses=" or ".join(sorted(guesses)),
            wanted=wanted,
        )
        return [InputCheck(Severity.WARNING, text)]
    return []


def _guess(name: str) -> set[str]:
    """The modalities a name speaks of; a number after T1 or T2 (T1_2) does not hide them."""
    tokens = _TOKEN.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower().replace("_", " "))
    found = {kind for kind, pattern in _MODALITIES.items() for token in tokens if re.fullmatch(pattern, token)}
    # FLAIR is often named T2 FLAIR.
    return found - {"T2w"} if "FLAIR" in found else found


def _dicom_modality(node: Any) -> str:
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    return str(hierarchy.GetItemAttribute(item, "DICOM.Modality")) if item else ""
