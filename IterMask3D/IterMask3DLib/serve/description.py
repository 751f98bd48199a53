"""What a door shows before there is a run: models, methods with their settings, versions. Without torch."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from IterMask3DLib import __version__
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.settings import About, about, default_of
from IterMask3DLib.core.versions import version_of
from IterMask3DLib.methods.registry import find_method, method_specs
from IterMask3DLib.models.catalogue import DEFAULT_MODEL, ModelEntry, find_entry, list_models, user_folder

if TYPE_CHECKING:
    from IterMask3DLib.methods.base import MethodSpec

NEEDED = {
    "torch": "torch",
    "scipy": "scipy",
    "SimpleITK": "SimpleITK",
    "nibabel": "nibabel",
    "safetensors": "safetensors",
    "platformdirs": "platformdirs",
    "matplotlib": "matplotlib",
    "contourpy": "contourpy",
    "jinja2": "jinja2",
    "markupsafe": "markupsafe",
}
"""Import name and distribution of what runs need beside NumPy."""


def missing_packages() -> list[str]:
    """The distributions that runs need and this Python lacks."""
    importlib.invalidate_caches()
    return [distribution for name, distribution in NEEDED.items() if importlib.util.find_spec(name) is None]


def faster_packages() -> list[str]:
    """The distributions that this Python lacks and that would make runs faster here: OpenVINO, without a GPU."""
    has_gpu = shutil.which("nvidia-smi") is not None or platform.system() == "Darwin"
    return [] if has_gpu or importlib.util.find_spec("openvino") is not None else ["openvino"]


def description(model: str | None = None) -> dict[str, Any]:
    """Everything a panel is drawn from. `model`: name or folder of one that is to be listed too."""
    entries, one = list_models(), find_entry(model) if model else None
    if one is not None and one.folder not in {entry.folder for entry in entries}:
        entries.append(one)
    folder = user_folder()
    return {
        "missing": missing_packages(),
        "faster": faster_packages(),
        "default_model": DEFAULT_MODEL,
        "model_folder": None if folder is None else str(folder),
        "models": [_model(entry) for entry in entries],
        "methods": {name: _method(spec) for name, spec in method_specs().items()},
        "diagnostics": diagnostics(entries, devices="torch" in sys.modules),
    }


def diagnostics(entries: list[ModelEntry], devices: bool) -> str:
    """A text with what someone who helps wants to know. `devices`: whether torch may be imported to ask for them."""
    lines = [
        f"IterMask3D {__version__}",
        f"Python {platform.python_version()} on {platform.platform()}, NumPy {np.__version__}",
        f"Executable {sys.executable}",
        *(f"{distribution} {version_of(distribution) or 'missing'}" for distribution in (*NEEDED.values(), "openvino")),
        *(_devices() if devices else ()),
    ]
    for entry in entries:
        told = entry.problem if entry.card is None else f"{entry.card.modality}, {entry.card.grid.spacing:g} mm"
        lines.append(f"Model {entry.name} ({entry.origin}): {told}")
    return "\n".join(lines)


def _model(entry: ModelEntry) -> dict[str, Any]:
    card, problem, settings = entry.card, entry.problem, {}
    if card is not None:
        try:
            values = find_method(card.method).settings(card)
            settings = {name: getattr(values, name) for name in about(values)}
        except UserError as error:
            problem = str(error)
    training = card.training if card is not None else {}
    known = {
        "title": card.title if card is not None else entry.name,
        "inputs": card.inputs if card is not None else [],
        "spacing": card.grid.spacing if card is not None else 0.0,
        "method": card.method if card is not None else "",
        "training": str(training.get("data", "")),
        "licence": str(training.get("licence", "")),
    }
    where = {
        "name": entry.name,
        "origin": entry.origin,
        "folder": str(Path(entry.folder).absolute()),
        "problem": problem,
    }
    return {**where, **known, "settings": settings}


def _method(spec: MethodSpec) -> dict[str, Any]:
    return {
        "title": spec.title,
        "citation": spec.citation,
        "capabilities": sorted(capability.value for capability in spec.capabilities),
        "settings": [_setting(name, *known) for name, known in about(spec.Settings).items()],
    }


def _setting(name: str, field: Any, known: About) -> dict[str, Any]:
    told = {key: value for key, value in vars(known).items() if key != "former"}
    published = known.published if known.beyond_paper else None
    beyond = {"beyond_paper": known.beyond_paper, "published": published}
    return {**told, "name": name, "default": default_of(field), **beyond}


def _devices() -> list[str]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [f"torch cannot be imported: {error}"]
    lines = [f"CPU threads {torch.get_num_threads()}, MPS {'yes' if torch.backends.mps.is_available() else 'no'}"]
    if not torch.cuda.is_available():
        return [*lines, f"CUDA no (torch was built for {torch.version.cuda or 'no CUDA'})"]
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        lines.append(f"CUDA {index}: {name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    return lines
