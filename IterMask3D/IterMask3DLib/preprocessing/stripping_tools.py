"""Skull-stripping tools that are used where the user has them; none comes with this program, and none is downloaded."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Image
from IterMask3DLib.core.limits import short
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.preprocessing.read import read_image

_SECONDS = 1800

Runner = Callable[[Sequence[str]], None]
"""Runs a command line; raises `OSError` or `subprocess.SubprocessError` when it fails."""


def run_command(command: Sequence[str]) -> None:
    """Runs an installed tool, silently, within half an hour."""
    subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)


@dataclass(frozen=True)
class CommandTool:
    """A tool that is a command and writes its mask as a file.

    Attributes:
        choice: its word among the choices of a run; name: as people call it; install: what brings it.
        command: its name; arguments: with {image}, {brain} and {mask} for files.
        masks: names of the files that the mask may be in.
        which: finds a command; run: runs it.
    """

    choice: str
    name: str
    install: str
    command: str
    arguments: tuple[str, ...]
    masks: tuple[str, ...] = ("mask.nii.gz",)
    which: Callable[[str], str | None] = shutil.which
    run: Runner = run_command

    def is_installed(self) -> bool:
        return self.which(self.command) is not None

    def mask(self, image: Image) -> Image:
        """The brain mask of a head, 0 and not 0. Raises `UserError` where the tool fails."""
        with tempfile.TemporaryDirectory() as folder:
            places = {name: Path(folder, f"{name}.nii.gz") for name in ("image", "brain", "mask")}
            write_nifti(image.array.astype(np.float32), image.affine, places["image"])
            words = [part.format(**places) for part in self.arguments]
            try:
                self.run([self.which(self.command) or self.command, *words])
            except (OSError, subprocess.SubprocessError) as error:
                raise UserError(short(error)) from None
            written = [path for path in (Path(folder, name) for name in self.masks) if path.exists()]
            if not written:
                raise UserError("it wrote no mask")
            return read_image(written[0])


@dataclass(frozen=True)
class Deepbet:
    """The Python package deepbet (Fisch et al. 2024), for T1-weighted heads of adults; its weights are in its wheel."""

    choice: str = "deepbet"
    name: str = "deepbet"
    install: str = "pip install deepbet"

    def is_installed(self) -> bool:
        return find_spec("deepbet") is not None

    def mask(self, image: Image) -> Image:
        """The brain mask of a head, True and False. Raises `UserError` where the package fails."""
        try:
            # It loads torch and pandas.
            from deepbet import BrainExtraction

            given = nib.Nifti1Image(image.array.astype(np.float32), image.affine)
            # On the CPU the same volume has the same mask on every machine, and seconds are enough.
            found = BrainExtraction(no_gpu=True).run(given)[1]
        except Exception as error:  # Whatever a package of others raises, the built-in skull stripping can go on.
            raise UserError(short(error)) from None
        return replace(image, array=np.asarray(found.dataobj) > 0, source=self.name)


StrippingTool = CommandTool | Deepbet

TOOLS: tuple[StrippingTool, ...] = (
    CommandTool(
        "hd-bet",
        "HD-BET",
        "pip install hd-bet",
        "hd-bet",
        ("-i", "{image}", "-o", "{brain}", "-device", "cpu", "--disable_tta", "--save_bet_mask", "--no_bet_image"),
        ("brain_bet.nii.gz", "brain_mask.nii.gz"),
    ),
    CommandTool(
        "synthstrip",
        "SynthStrip",
        "the command mri_synthstrip of FreeSurfer",
        "mri_synthstrip",
        ("-i", "{image}", "-m", "{mask}"),
    ),
    Deepbet(),
)
"""In the order in which they are tried: those for every contrast first."""
