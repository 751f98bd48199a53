"""Volumes that no scanner makes, by name: each writes one into a folder and returns what is given to the command."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk

from Testing.brains import phantom

SHAPE = (20, 24, 20)
VALUES, AFFINE = phantom(SHAPE, 8.0)

Make = Callable[[Path], Path]


def nifti(folder: Path, array: Any = VALUES, affine: Any = AFFINE, name: str = "odd.nii") -> Path:
    array = np.asarray(array)
    nibabel.save(nibabel.Nifti1Image(array, np.asarray(affine, float), dtype=array.dtype), folder / name)
    return folder / name


def bytes_at(offset: int, values: bytes, folder: Path, name: str = "odd.nii") -> Path:
    """A NIfTI file with some bytes of its header replaced."""
    raw = bytearray(nifti(folder, name="whole.nii").read_bytes())
    raw[offset : offset + len(values)] = values
    (folder / "whole.nii").unlink()
    (folder / name).write_bytes(gzip.compress(bytes(raw)) if name.endswith(".gz") else bytes(raw))
    return folder / name


def header(offset: int, kind: str, *values: float, name: str = "odd.nii") -> Make:
    return partial(bytes_at, offset, struct.pack(f"<{kind}", *values), name=name)


def nrrd(name: str, old: str, new: str, folder: Path) -> Path:
    """A NRRD or MetaImage file in one piece with a line of its header replaced."""
    path = folder / name
    image = sitk.GetImageFromArray(VALUES.T)
    image.SetSpacing((8.0, 8.0, 8.0))
    sitk.WriteImage(image, str(path), useCompression=False)
    raw = path.read_bytes()
    lines = raw.split(b"\n")
    (number,) = [n for n, line in enumerate(lines[:40]) if line.startswith(old.encode())][:1]
    lines[number] = new.encode()
    path.write_bytes(b"\n".join(lines))
    return path


def written(name: str, data: bytes, folder: Path) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def values(change: Callable[[Any], Any], affine: Any = AFFINE) -> Make:
    return lambda folder: nifti(folder, change(VALUES), affine)


def _spike(value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array = array.astype(np.float64)
        array[10, 12, 10] = value
        return array

    return change


def oriented(*rows: Sequence[float]) -> Make:
    """A NIfTI file whose orientation is these rows, which no library would write."""
    return header(252, "2h18f", 0, 1, *[0.0] * 6, *(value for row in rows for value in row))


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "odd.nii.gz")
    return folder / "odd.nii.gz"


def _linked(folder: Path, to: str) -> Path:
    (folder / "odd.nii.gz").symlink_to(to)
    return folder / "odd.nii.gz"


def _loop(folder: Path) -> Path:
    (folder / "other.nii.gz").symlink_to("odd.nii.gz")
    return _linked(folder, "other.nii.gz")


def _named(name: bytes, folder: Path) -> Path:
    path = folder / os.fsdecode(name)
    return nifti(folder).rename(path)


def _locked(folder: Path) -> Path:
    path = nifti(folder)
    path.chmod(0)
    return path


def _folder_named(folder: Path) -> Path:
    (folder / "odd.nii.gz").mkdir()
    return folder / "odd.nii.gz"


def _bomb(folder: Path) -> Path:
    data = nifti(folder, name="whole.nii").read_bytes() + bytes(200 << 20)
    (folder / "whole.nii").unlink()
    return written("odd.nii.gz", gzip.compress(data, 1), folder)


def _wrong_checksum(folder: Path) -> Path:
    path = nifti(folder, name="odd.nii.gz")
    raw = bytearray(path.read_bytes())
    raw[-8] ^= 1
    path.write_bytes(bytes(raw))
    return path


def _cut(share: float, name: str, folder: Path) -> Path:
    path = nifti(folder, name=name)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    return path


def _head(values: Any, folder: Path) -> Path:
    """A head of 40 x 48 x 40 voxels of 5 mm with a skull around its brain, in numbers of any kind."""
    i, j, k = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * 5 for n in (40, 48, 40)), indexing="ij")
    reach = (i / 75) ** 2 + (j / 95) ** 2 + (k / 75) ** 2
    head = np.where(reach < 0.65, 500, np.where(reach < 0.8, 100, np.where(reach < 1, 900, 5)))
    noise = np.random.default_rng(0).normal(0, 20, head.shape)
    return nifti(folder, values(head + noise), np.diag([5.0, 5, 5, 1]))


IMAGES: dict[str, Make] = {
    "header of 30000^3 voxels": header(40, "8h", 3, 30000, 30000, 30000, 1, 1, 1, 1),
    "header of 30000^3 voxels, compressed": header(40, "8h", 3, 30000, 30000, 30000, 1, 1, 1, 1, name="odd.nii.gz"),
    "header of 32767^7 voxels": header(40, "8h", 7, *[32767] * 7),
    "header of 800^3 voxels, and few bytes": header(40, "8h", 3, 800, 800, 800, 1, 1, 1, 1),
    "negative side": header(40, "4h", 3, -20, 24, 20),
    "side of nothing": header(40, "4h", 3, 0, 24, 20),
    "nine dimensions": header(40, "4h", 9, 20, 24, 20),
    "no dimensions": header(40, "4h", 0, 20, 24, 20),
    "negative dimensions": header(40, "4h", -3, 20, 24, 20),
    **{f"data type {code}": header(70, "h", code) for code in (0, 1, 128, 255, 1536, 1792, 2048, 2304, 9999, -1)},
    **{
        f"offset {at}": header(108, "f", at)
        for at in (-1e9, -1.0, 0.0, 1.0, 353.0, 1e7, 1e30, float("nan"), float("inf"))
    },
    **{
        f"slope {slope}, intercept {intercept}": header(112, "2f", slope, intercept)
        for slope, intercept in (
            *((1e38, 0.0), (-1e38, 0.0), (1e-45, 0.0), (0.0, 5.0), (float("nan"), 0.0), (float("inf"), 0.0)),
            *((1.0, float("nan")), (1.0, float("inf")), (1.0, 1e38), (-1.0, 0.0), (1.0, -1e9)),
        )
    },
    "header of the size of another format": header(0, "i", 0),
    "big header size": header(0, "i", 2**31 - 1),
    "no magic": header(344, "4s", b"\0\0\0\0"),
    "pair of files, alone": header(344, "4s", b"ni1\0"),
    "absurd units and codes": header(123, "B", 255),
    "forms that are no codes": header(252, "2h", 32767, -32768),
    "quaternion of nothing": header(256, "3f", float("nan"), float("inf"), 2.0),
    "spacing of nothing": header(76, "8f", 0, 0, 0, 0, 0, 0, 0, 0),
    "spacing that is no number": header(76, "8f", 1, *[float("nan")] * 7),
    "values beyond float32": values(lambda v: v.astype(np.float64) * 1e200),
    "values at the end of float32": values(lambda v: v.astype(np.float32) * np.float32(1e35)),
    "values that are next to nothing": values(lambda v: v.astype(np.float64) * 1e-300),
    "one spike beyond float32": values(_spike(1e300)),
    "one spike of 1e29": values(_spike(1e29)),
    "not a number": values(_spike(np.nan)),
    "infinite": values(_spike(np.inf)),
    "complex": values(lambda v: v.astype(np.complex64)),
    "64-bit numbers": values(lambda v: v.astype(np.int64) * 10**16),
    "unsigned 64-bit numbers": values(lambda v: v.astype(np.uint64) * np.uint64(10**16)),
    "negative numbers": values(lambda v: -v.astype(np.int32)),
    "numbers far from 0": values(lambda v: v.astype(np.float64) + 1e9),
    "two values": values(lambda v: (v > 0).astype(np.uint8)),
    "constant": values(lambda v: np.full_like(v, 7)),
    "all nothing": values(np.zeros_like),
    "one voxel": values(lambda v: np.where(np.arange(v.size).reshape(v.shape) == 4810, 5, 0).astype(np.int16)),
    "noise": values(lambda v: np.random.default_rng(0).normal(size=v.shape)),
    "a slice": values(lambda v: v[:, :, 10]),
    "a line": values(lambda v: v[:, 10, 10]),
    "one slice": values(lambda v: v[:, :, 10:11]),
    "two slices": values(lambda v: v[:, :, 9:11]),
    "three slices": values(lambda v: v[:, :, 9:12]),
    "five slices": values(lambda v: v[:, :, 8:13]),
    "several time points": values(lambda v: np.stack([v, v], axis=-1)),
    "colours": values(lambda v: np.stack([v] * 3, axis=-1)[..., None, :]),
    "axes of length 1 behind": values(lambda v: v[..., None, None]),
    **{
        f"voxels of {size:g} mm": oriented((size, 0, 0, 0), (0, size, 0, 0), (0, 0, size, 0))
        for size in (0.001, 0.01, 0.05, 0.1, 26.0, 40.0, 1e6, 1e30)
    },
    "one axis of 40 mm": oriented((8, 0, 0, 0), (0, 8, 0, 0), (0, 0, 40, 0)),
    "singular orientation": oriented((8, 0, 0, 0), (0, 8, 0, 0), (0, 0, 0, 0)),
    "orientation of nothing": oriented(*[(0, 0, 0, 0)] * 3),
    "two axes in one direction": oriented((8, 8, 0, 0), (0, 0, 0, 0), (0, 0, 8, 0)),
    "sheared": oriented((8, 7, 0, 0), (0, 8, 5, 0), (0, 0, 8, 0)),
    "nearly flat": oriented((8, 8, 0, 0), (8, 7.9999, 0, 0), (0, 0, 8, 0)),
    "orientation that is no number": oriented((float("nan"), 0, 0, 0), (0, 8, 0, 0), (0, 0, 8, 0)),
    "origin far away": oriented((8, 0, 0, 1e30), (0, 8, 0, 0), (0, 0, 8, 0)),
    "origin that is infinite": oriented((8, 0, 0, float("inf")), (0, 8, 0, 0), (0, 0, 8, 0)),
    "head": partial(_head, lambda head: head.astype(np.int16)),
    "head in negative numbers": partial(_head, lambda head: (head - 2000).astype(np.int16)),
    "head around 0": partial(_head, lambda head: (head - 300).astype(np.float32)),
    "head, inverted": partial(_head, lambda head: (1000 - head).astype(np.float32)),
    "head of two values": partial(_head, lambda head: (head > 300).astype(np.uint8)),
    "head in tiny numbers": partial(_head, lambda head: head * 1e-20),
    "compressed bomb": _bomb,
    "wrong checksum": _wrong_checksum,
    "cut, compressed": partial(_cut, 0.5, "odd.nii.gz"),
    "cut": partial(_cut, 0.5, "odd.nii"),
    "cut in the header": partial(_cut, 0.005, "odd.nii"),
    "without its last byte": partial(_cut, 0.99999, "odd.nii"),
    "empty": partial(written, "odd.nii", b""),
    "text": partial(written, "odd.nii.gz", b"not an image" * 99),
    "noise of bytes": partial(written, "odd.nii", np.random.default_rng(0).bytes(5000)),
    "two gzip members": lambda folder: written(
        "odd.nii.gz",
        gzip.compress(nifti(folder).read_bytes()[:9000]) + gzip.compress(nifti(folder).read_bytes()[9000:]),
        folder,
    ),
    "gzip and rubbish": lambda folder: written(
        "odd.nii.gz", gzip.compress(nifti(folder).read_bytes()) + b"rubbish", folder
    ),
    "not compressed, named so": lambda folder: nifti(folder).rename(folder / "odd.nii.gz"),
    "compressed, not named so": lambda folder: nifti(folder, name="a.nii.gz").rename(folder / "odd.nii"),
    "another ending": lambda folder: nifti(folder).rename(folder / "odd.png"),
    "no ending": lambda folder: nifti(folder).rename(folder / "odd"),
    "ending in capitals": lambda folder: nifti(folder).rename(folder / "ODD.NII"),
    "nrrd of many voxels": partial(nrrd, "odd.nrrd", "sizes:", "sizes: 30000 30000 30000"),
    "nrrd of negative sizes": partial(nrrd, "odd.nrrd", "sizes:", "sizes: -20 24 20"),
    "nrrd of other sizes": partial(nrrd, "odd.nrrd", "sizes:", "sizes: 200 240 20"),
    "nrrd of another type": partial(nrrd, "odd.nrrd", "type:", "type: block"),
    "nrrd of an unknown type": partial(nrrd, "odd.nrrd", "type:", "type: \u00e9\u00e9"),
    "nrrd in an unknown encoding": partial(nrrd, "odd.nrrd", "encoding:", "encoding: magic"),
    "nrrd that is said to be text": partial(nrrd, "odd.nrrd", "encoding:", "encoding: text"),
    "nrrd that is said to be compressed": partial(nrrd, "odd.nrrd", "encoding:", "encoding: gzip"),
    "nrrd of no directions": partial(
        nrrd, "odd.nrrd", "space directions:", "space directions: (0,0,0) (0,0,0) (0,0,0)"
    ),
    "nrrd of directions that are no numbers": partial(
        nrrd, "odd.nrrd", "space directions:", "space directions: (nan,0,0) (0,1,0) (0,0,1)"
    ),
    "nrrd of an unknown space": partial(nrrd, "odd.nrrd", "space:", "space: left-right-up"),
    "nrrd in 17 dimensions": partial(nrrd, "odd.nrrd", "dimension:", "dimension: 17"),
    "metaimage of many voxels": partial(nrrd, "odd.mha", "DimSize", "DimSize = 30000 30000 30000"),
    "metaimage of negative sizes": partial(nrrd, "odd.mha", "DimSize", "DimSize = -20 24 20"),
    "metaimage in 99 dimensions": partial(nrrd, "odd.mha", "NDims", "NDims = 99"),
    "metaimage in -1 dimensions": partial(nrrd, "odd.mha", "NDims", "NDims = -1"),
    "metaimage of no spacing": partial(nrrd, "odd.mha", "ElementSpacing", "ElementSpacing = 0 0 0"),
    "metaimage of an unknown type": partial(nrrd, "odd.mha", "ElementType", "ElementType = MET_BRAIN"),
    "metaimage with data in many files": partial(nrrd, "odd.mha", "ElementDataFile", "ElementDataFile = LIST"),
    "metaimage with data in a device": partial(nrrd, "odd.mha", "ElementDataFile", "ElementDataFile = /dev/zero"),
    "metaimage with data in itself": partial(nrrd, "odd.mha", "ElementDataFile", "ElementDataFile = odd.mha"),
    "nhdr without its data": partial(
        written,
        "odd.nhdr",
        b"NRRD0004\ntype: short\ndimension: 3\nsizes: 20 24 20\nencoding: raw\ndata file: gone.raw\n\n",
    ),
    "nhdr with data in a device": partial(
        written,
        "odd.nhdr",
        b"NRRD0004\ntype: short\ndimension: 3\nsizes: 20 24 20\nencoding: raw\ndata file: /dev/zero\n\n",
    ),
    "pipe": _pipe,
    "pipe behind a link": lambda folder: (os.mkfifo(folder / "pipe"), _linked(folder, "pipe"))[1],
    "device": lambda folder: Path("/dev/null"),
    "endless device behind a link": lambda folder: _linked(folder, "/dev/zero"),
    "memory of the process": lambda folder: _linked(folder, "/proc/self/mem"),
    "folder with a pipe": lambda folder: (os.mkfifo(folder / "0001.dcm"), folder)[1],
    "links in a circle": _loop,
    "link to nowhere": lambda folder: _linked(folder, "nowhere.nii.gz"),
    "folder with the name of a file": _folder_named,
    "folder of nothing": lambda folder: (folder / "empty").mkdir() or folder / "empty",
    "file that may not be read": _locked,
    "name that is not UTF-8": partial(_named, b"caf\xe9.nii"),
    "name with a line break": partial(_named, b"line\nbreak\r\x1b[31m.nii"),
    "name with quotes and tags": partial(_named, b"<script>alert('x')</script>&\".nii".replace(b"/", b"_")),
    "name that begins a formula": partial(_named, b"=1+1.nii"),
    "name that begins with a dash": partial(_named, b"-o.nii"),
    "name of dots": partial(_named, b"....nii"),
    "name of 250 letters": partial(_named, b"x" * 246 + b".nii"),
    "name of letters of all kinds": partial(_named, "磁共振\u202e\u0000".replace("\0", "").encode() + b".nii"),
    "path of 5000 letters": lambda folder: Path(f"{folder}/{'x' * 5000}.nii"),
    "path with a null byte": lambda folder: Path(f"{folder}/a\0.nii"),
    "nothing at all": lambda folder: Path(),
    "spaces": lambda folder: Path("  "),
    "not there": lambda folder: folder / "none.nii.gz",
    "root": lambda folder: Path("/"),
    "its own folder": lambda folder: folder,
}
"""What is given to `segment` as INPUT."""
