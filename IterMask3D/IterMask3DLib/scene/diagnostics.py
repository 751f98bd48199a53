"""A text with what someone who helps wants to know, ready to paste."""

from __future__ import annotations

import importlib.util
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import slicer
import vtk

from IterMask3DLib import __version__
from IterMask3DLib.scene.model_list import listModels

NEEDED = {
    "torch": "torch",
    "scipy": "scipy",
    "SimpleITK": "SimpleITK",
    "nibabel": "nibabel",
    "safetensors": "safetensors",
    "platformdirs": "platformdirs",
    "matplotlib": "matplotlib",
    "jinja2": "jinja2",
    "markupsafe": "markupsafe",
}
"""Import name and distribution of what the engine needs beside Slicer's own packages."""


def missingPackages() -> list[str]:
    """The distributions the engine needs and this Python lacks."""
    return [distribution for name, distribution in NEEDED.items() if importlib.util.find_spec(name) is None]


def diagnostics() -> str:
    """Versions, devices with their memory, and the state of the models."""
    lines = [
        f"IterMask3D {__version__}",
        f"Slicer {_applicationVersion()}, VTK {vtk.vtkVersion.GetVTKVersion()}",
        f"Python {platform.python_version()} on {platform.platform()}, NumPy {np.__version__}",
        f"Executable {sys.executable}",
        *(f"{distribution} {_version(distribution)}" for distribution in NEEDED.values()),
        *_devices(),
    ]
    for model in listModels():
        lines.append(f"Model {model.name} ({model.origin}): {model.problem or f'{model.modality}, {model.spacing:g} mm'}")
    return "\n".join(lines)


def _applicationVersion() -> str:
    version_, revision = getattr(slicer.app, "applicationVersion", "unknown"), getattr(slicer.app, "revision", "")
    return f"{version_} {revision}".strip()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "missing"


def _devices() -> list[str]:
    if importlib.util.find_spec("torch") is None:
        return []
    try:
        import torch
    except (ImportError, OSError) as error:
        return [f"torch cannot be imported: {error}"]
    lines = [f"CPU threads {torch.get_num_threads()}, MPS {'yes' if torch.backends.mps.is_available() else 'no'}"]
    if not torch.cuda.is_available():
        return [*lines, f"CUDA no (torch was built for {torch.version.cuda or 'no CUDA'})"]
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        lines.append(f"CUDA {index}: {torch.cuda.get_device_name(index)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    return lines
