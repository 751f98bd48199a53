"""What is wrong or odd about an input, in words, before anything is computed. Everything here is quick: large volumes are sampled."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene import model_list
from IterMask3DLib.scene.geometry import affineOf, parentTransform, shapeOf
from IterMask3DLib.scene.records import Finding, ModelInfo, RunOptions, Severity
from IterMask3DLib.scene.words import tr as _

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
_CHOICES = {"start": ("brain", "best"), "quality": ("auto", "fast", "full", "published"), "device": ("auto", "cuda", "mps", "cpu")}
_TOKEN = re.compile(r"[a-z0-9]+")


def checkInput(volumeNode: Any, brainMaskNode: Any, model: ModelInfo | None) -> list[Finding]:
    """Findings, the worst first. Never raises for what a user can have chosen."""
    found = _unusable(volumeNode)
    if found is None:
        array = slicer.util.arrayFromVolume(volumeNode)[tuple(slice(None, None, max(1, n // _SAMPLES)) for n in shapeOf(volumeNode)[::-1])]
        findings = _values(volumeNode.GetName(), array)
        if not any(finding.severity is Severity.ERROR for finding in findings):
            findings += _geometry(volumeNode) + _brain(volumeNode, array, brainMaskNode) + _modality(volumeNode, model)
    else:
        findings = [found]
    if model is not None and model.problem:
        findings.append(Finding(Severity.ERROR, model.problem))
    order = (Severity.ERROR, Severity.WARNING, Severity.INFO)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def checkOptions(options: RunOptions) -> list[Finding]:
    """What no run can be made with; the panel offers none of it, a script can."""
    findings = []
    for name, choices in _CHOICES.items():
        if getattr(options, name) not in choices:
            text = _("The option {name} is {given!r}; choose one of {choices}.").format(
                name=name, given=getattr(options, name), choices=", ".join(choices)
            )
            findings.append(Finding(Severity.ERROR, text))
    if options.gamma is not None and not options.gamma > 0:
        findings.append(Finding(Severity.ERROR, _("Gamma is {gamma:g}; it must be above 0.").format(gamma=options.gamma)))
    if options.passes is not None and options.passes < 1:
        findings.append(Finding(Severity.ERROR, _("The sweep has {passes} passes; it needs at least 1.").format(passes=options.passes)))
    if options.seed < 0:
        findings.append(Finding(Severity.ERROR, _("The seed is {seed}; it must not be below 0.").format(seed=options.seed)))
    return findings


def noModel(name: str | None) -> Finding:
    """What is said of a model that is not there."""
    return Finding(
        Severity.ERROR,
        _("Model {name} is neither bundled, installed, nor a folder; choose another one.").format(name=name or model_list.DEFAULT),
    )


def refuse(findings: list[Finding]) -> None:
    """Raises `UserError` with the first finding that makes an input unusable."""
    for finding in findings:
        if finding.severity is Severity.ERROR:
            raise UserError(finding.text)


def _unusable(node: Any) -> Finding | None:
    """What keeps a node from being a volume at all."""
    if node is None:
        return Finding(Severity.ERROR, _("No volume is chosen."))
    name = node.GetName()
    if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLTensorVolumeNode"):
        return Finding(Severity.ERROR, _("{name} is not a scalar volume; choose one with a single number a voxel.").format(name=name))
    # An image has its size before its voxels while it is being made.
    if node.GetImageData() is None or min(shapeOf(node)) < 2 or node.GetImageData().GetPointData().GetScalars() is None:
        return Finding(Severity.ERROR, _("{name} holds no 3D image; load the volume again.").format(name=name))
    if node.GetImageData().GetNumberOfScalarComponents() != 1:
        return Finding(Severity.ERROR, _("{name} holds several numbers a voxel; one is needed.").format(name=name))
    if parentTransform(node) is not None:
        return Finding(
            Severity.ERROR,
            _("{name} hangs under the transform {transform}; harden the transform first.").format(
                name=name, transform=parentTransform(node).GetName()
            ),
        )
    return None


def _values(name: str, array: NDArray[Any]) -> list[Finding]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [Finding(Severity.ERROR, _("{name} holds NaN or infinite voxels; replace them by numbers.").format(name=name))]
    values = np.unique(array)
    if len(values) == 1:
        return [Finding(Severity.ERROR, _("{name} is constant: every voxel is {value}.").format(name=name, value=values[0]))]
    if len(values) <= _FEW_VALUES:
        return [
            Finding(
                Severity.WARNING,
                _("{name} has only {count} different values: it looks like a label map, not an MR volume.").format(
                    name=name, count=len(values)
                ),
            )
        ]
    if values[0] < _CT_AIR:
        return [
            Finding(
                Severity.WARNING,
                _("{name} goes down to {value:g}: it looks like a CT, not an MR volume.").format(name=name, value=values[0]),
            )
        ]
    return []


def _geometry(node: Any) -> list[Finding]:
    spacing = np.array(node.GetSpacing())
    findings = []
    size = " x ".join(f"{s:.2g}" for s in spacing)
    if spacing.max() > _COARSE_MM:
        text = _("Voxels are {size} mm; small lesions can be missed and edges can look anomalous.").format(size=size)
        findings.append(Finding(Severity.WARNING, text))
    elif spacing.max() > _UNEVEN * spacing.min():
        findings.append(
            Finding(
                Severity.WARNING,
                _("Voxels are {size} mm, far from cubes; details along the thick side are interpolated.").format(size=size),
            )
        )
    return findings


def _brain(node: Any, array: NDArray[Any], mask: Any) -> list[Finding]:
    """Whether there can be a brain, and where it is taken from."""
    voxel_ml = abs(float(np.linalg.det(affineOf(node)[:3, :3]))) / 1000
    whole_ml = float(np.prod(shapeOf(node))) * voxel_ml
    if whole_ml < _BRAIN_ML[0]:
        return [
            Finding(
                Severity.WARNING, _("{name} covers {whole_ml:,.0f} ml, less than a brain.").format(name=node.GetName(), whole_ml=whole_ml)
            )
        ]
    if mask is not None:
        return _mask(node, mask)
    corners = array[np.ix_((0, -1), (0, -1), (0, -1))]
    background = corners.flat[0]
    share = float((array != background).mean())
    foreground_ml = share * whole_ml
    if (corners == background).all() and share <= 1 - _CORNER_SHARE:
        if foreground_ml < _BRAIN_ML[0]:
            return [
                Finding(
                    Severity.WARNING,
                    _("Only {foreground_ml:,.0f} ml of {name} are not background: there is no whole brain.").format(
                        foreground_ml=foreground_ml, name=node.GetName()
                    ),
                )
            ]
        if foreground_ml <= _BRAIN_ML[1]:
            return [
                Finding(
                    Severity.INFO, _("The volume is skull-stripped already ({foreground_ml:,.0f} ml).").format(foreground_ml=foreground_ml)
                )
            ]
    return [
        Finding(
            Severity.INFO,
            _("The volume is not skull-stripped: the brain is extracted first. Look at the brain mask that comes with the result."),
        )
    ]


def _mask(node: Any, mask: Any) -> list[Finding]:
    name = mask.GetName()
    if parentTransform(mask) is not None:
        return [Finding(Severity.ERROR, _("The brain mask {name} hangs under a transform; harden the transform first.").format(name=name))]
    if mask.IsA("vtkMRMLSegmentationNode"):
        if mask.GetSegmentation().GetNumberOfSegments() == 0:
            return [
                Finding(Severity.ERROR, _("The brain mask {name} has no segment; draw the brain or choose another mask.").format(name=name))
            ]
        return []
    if mask.GetImageData() is None:
        return [Finding(Severity.ERROR, _("The brain mask {name} holds no image; load it again.").format(name=name))]
    if shapeOf(mask) != shapeOf(node) or not np.allclose(affineOf(mask), affineOf(node), atol=1e-2):
        return [
            Finding(
                Severity.ERROR,
                _("The brain mask {name} is not on the grid of {volume}; resample it to that grid.").format(
                    name=name, volume=node.GetName()
                ),
            )
        ]
    return []


def _modality(node: Any, model: ModelInfo | None) -> list[Finding]:
    found = _dicomModality(node)
    if found and found != "MR":
        return [Finding(Severity.WARNING, _("{name} is {found} by its DICOM header, not MR.").format(name=node.GetName(), found=found))]
    if model is None or not model.modality:
        return []
    guesses = _guess(node.GetName())
    if guesses and model.modality not in guesses:
        text = _("{name} looks like {guesses} by its name; the model was trained on {modality}.").format(
            name=node.GetName(), guesses=" or ".join(sorted(guesses)), modality=model.modality
        )
        return [Finding(Severity.WARNING, text)]
    return []


def _guess(name: str) -> set[str]:
    """The modalities a name speaks of; a number after T1 or T2 (T1_2) does not hide them."""
    tokens = _TOKEN.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower().replace("_", " "))
    found = {kind for kind, pattern in _MODALITIES.items() for token in tokens if re.fullmatch(pattern, token)}
    # FLAIR is often named T2 FLAIR.
    return found - {"T2w"} if "FLAIR" in found else found


def _dicomModality(node: Any) -> str:
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    return str(hierarchy.GetItemAttribute(item, "DICOM.Modality")) if item else ""
