"""Model folders: `model.safetensors` and `card.json`, verified whenever they are read. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import platformdirs
import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from IterMask3DLib.engine.card import Card
from IterMask3DLib.engine.errors import InputError
from IterMask3DLib.engine.healthy_error import SIDE
from IterMask3DLib.engine.network import UNet3D
from IterMask3DLib.engine.records import FloatVolume
from IterMask3DLib.engine.resources import resource

DEFAULT_MODEL = "t1w-2mm"
WEIGHTS, CARD = "model.safetensors", "card.json"
_TABLE = "healthy_error"
_LARGEST = {WEIGHTS: 2 * 1024**3, CARD: 1024**2}
_FOLDER_NAME = re.compile(r"\w(?:[\w .+-]{0,98}[\w+-])?")

Origin = Literal["bundled", "installed", "path"]


@dataclass(frozen=True)
class Model:
    """A verified model: its folder, its card, its network in evaluation mode on the CPU, and the table its card's scoring asks for."""

    folder: Path
    card: Card
    network: UNet3D
    healthy_error: FloatVolume | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A model folder found on this machine; `problem` says why it cannot be used (then `card` may be None)."""

    name: str
    folder: Path
    origin: Origin
    card: Card | None
    problem: str | None


def user_folder() -> Path:
    """Where `install` puts models."""
    return platformdirs.user_data_path("itermask3d") / "models"


def find_model(name: str | None) -> Path:
    """The folder of a model: the default one (None), a bundled or installed one by name, or a folder as it is given."""
    wanted = name or DEFAULT_MODEL
    if Path(wanted).name == wanted != "..":
        places = [user_folder() / wanted]
        try:
            places.insert(0, resource("Models", wanted))
        except InputError:
            if name is None:
                raise
        for place in places:
            if place.is_dir():
                return place
    if Path(wanted).is_dir():
        return Path(wanted)
    raise InputError(f"Model {wanted} is neither bundled, installed, nor a folder; see `itermask3d models list`.")


def list_models(extra: Path | None = None) -> tuple[ModelEntry, ...]:
    """Every model that is bundled, installed, or in the folder `extra` (itself a model or a folder of models); tensors are verified."""
    roots: list[tuple[Path, Origin]] = [(resource("Models"), "bundled"), (user_folder(), "installed")]
    entries = []
    if extra is not None:
        if not extra.is_dir():
            raise InputError(f"{extra} is not a folder.")
        if (extra / CARD).exists():
            entries.append(_entry(extra, "path"))
        else:
            roots.append((extra, "path"))
    for root, origin in roots:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")) if root.is_dir() else []
        entries.extend(_entry(folder, origin) for folder in folders)
    return tuple(entries)


def _entry(folder: Path, origin: Origin) -> ModelEntry:
    try:
        return ModelEntry(folder.name, folder, origin, verify(folder), None)
    except InputError as error:
        return ModelEntry(folder.name, folder, origin, None, str(error))


def verify(folder: Path) -> Card:
    """Checks card, checksum and tensors of a model folder. Returns the card; raises `InputError`."""
    return load_model(folder).card


def load_model(folder: Path) -> Model:
    """Reads a model folder. Raises `InputError` with the first thing that is wrong: card, checksum or tensors."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a model folder.")
    card = Card.from_json(_read(folder / CARD).decode("utf-8", errors="replace"), str(folder / CARD))
    data = _read(folder / WEIGHTS)
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise InputError(
            f"{folder / WEIGHTS} does not have the checksum of its card; it is damaged or was changed: install the model again."
        )
    try:
        tensors = load_tensors(data)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{folder / WEIGHTS} is not a safetensors file ({error}).") from None
    # The checksum does not cover the card: widths that do not fit the file must not reserve memory before they are refused.
    with torch.device("meta"):
        wanted = UNet3D(card.widths).state_dict()
        if card.scoring.healthy_error:
            wanted[_TABLE] = torch.empty((SIDE,) * 3)
    check_tensors(tensors, wanted, str(folder / WEIGHTS))
    table = tensors.pop(_TABLE).numpy() if card.scoring.healthy_error else None
    if table is not None and not (table > 0).all():
        raise InputError(f"{folder / WEIGHTS}: tensor {_TABLE} must be above 0 everywhere.")
    network = UNet3D(card.widths, card.dropout)
    network.load_state_dict(tensors)
    return Model(folder, card, network.eval(), table)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); a model folder holds {CARD} and {WEIGHTS}.") from None


def check_tensors(given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], where: str) -> None:
    """Raises `InputError` naming the first tensor that is missing, unknown, of another shape or type, or not finite."""
    for name, tensor in wanted.items():
        if name not in given:
            raise InputError(f"{where}: tensor {name} is missing.")
        if given[name].shape != tensor.shape or given[name].dtype != tensor.dtype:
            have, want = _kind(given[name]), _kind(tensor)
            raise InputError(f"{where}: tensor {name} is {have} where the network of the card has {want}.")
        if given[name].layout != torch.strided or given[name].is_meta:
            raise InputError(f"{where}: tensor {name} is not stored as plain values.")
        if not torch.isfinite(given[name]).all():
            raise InputError(f"{where}: tensor {name} holds values that are not finite.")
    for name in given:
        if name not in wanted:
            raise InputError(f"{where}: tensor {name} does not belong to this network.")


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def save_model(folder: Path, network: UNet3D, card: Card, healthy_error: FloatVolume | None = None) -> Card:
    """Writes a model folder, whole or not at all, and returns the card with the checksum filled in.

    `healthy_error`: the table that the card's scoring asks for. Raises `InputError` if the folder exists or the card is one that could not
    be read again.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if healthy_error is not None:
        tensors[_TABLE] = torch.from_numpy(np.ascontiguousarray(healthy_error, dtype=np.float32))
    data = save_tensors(tensors)
    signed = replace(card, sha256=hashlib.sha256(data).hexdigest())
    Card.from_json(signed.to_json(), str(folder / CARD))
    with _placed(folder, overwrite=False) as beside:
        (beside / WEIGHTS).write_bytes(data)
        (beside / CARD).write_text(signed.to_json(), encoding="utf-8", newline="\n")
    return signed


def install(source: Path, *, overwrite: bool = False) -> Path:
    """Copies a model folder or zip file into the user's folder, under the name on its card, after verifying it. Returns the new folder."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = source if source.is_dir() else _unzipped(source, Path(scratch))
        name = verify(folder).name
        if not _FOLDER_NAME.fullmatch(name):
            raise InputError(f"{source}: the model's name {name!r} cannot be a folder name.")
        target = user_folder() / name
        with _placed(target, overwrite=overwrite) as beside:
            for file in (WEIGHTS, CARD):
                shutil.copyfile(folder / file, beside / file)
        return target


def _unzipped(source: Path, scratch: Path) -> Path:
    """The two files of a model, taken by name out of a zip file; nothing else is extracted, so no member decides where it lands."""
    try:
        with zipfile.ZipFile(source) as archive:
            for wanted in (WEIGHTS, CARD):
                found = [item for item in archive.infolist() if Path(item.filename).name == wanted and item.filename.count("/") <= 1]
                if len(found) != 1:
                    raise InputError(f"{source} must hold exactly one {wanted}.")
                if found[0].file_size > _LARGEST[wanted]:
                    raise InputError(f"{source}: {wanted} is larger than a model can be.")
                (scratch / wanted).write_bytes(archive.read(found[0]))
    except InputError:
        raise
    except Exception as error:  # Each way of compression fails in ways of its own on damaged bytes.
        raise InputError(f"{source} is neither a model folder nor a readable zip file ({error}).") from None
    return scratch


@contextmanager
def _placed(target: Path, overwrite: bool) -> Iterator[Path]:
    """A hidden folder beside `target` that takes its place once it was filled without an error."""
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists already; choose another name or remove it.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}).") from None
    try:
        yield beside
        beside.chmod(0o755)
        _swap(beside, target)
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}).") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _swap(beside: Path, target: Path) -> None:
    """Puts `beside` in the place of `target`; what stood there goes last, and comes back if the new one cannot take its place."""
    if not target.exists():
        os.replace(beside, target)
        return
    earlier = beside.with_name(f"{beside.name}.earlier")
    os.replace(target, earlier)
    try:
        os.replace(beside, target)
    except OSError:
        os.replace(earlier, target)
        raise
    shutil.rmtree(earlier, ignore_errors=True)
