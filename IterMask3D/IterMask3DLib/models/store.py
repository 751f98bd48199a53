"""Model folders read, verified, written and installed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.card import CARD_FILE, AssetEntry, ModelCard, NetworkEntry
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import check_plain, staged_folder, take_place
from IterMask3DLib.models.catalogue import user_folder, verified_bytes
from IterMask3DLib.models.weights import Arrays, State, TensorKind, arrays_in, arrays_of, bytes_of, check_tensors

if TYPE_CHECKING:
    from torch import nn

WEIGHTS, ASSETS = "model.safetensors", "assets.safetensors"
_LARGEST = {".safetensors": 2 * 1024**3, ".json": 1024**2}
_FOLDER_NAME = re.compile(r"\w(?:[\w .+-]{0,98}[\w+-])?")
_MOST_FILES = 20


@dataclass(frozen=True)
class Model:
    """A verified model.

    Attributes:
        folder: where it lies; card: what it is.
        networks: in evaluation mode on the CPU, by name; those that were read are built when one is asked for.
        assets: float32 arrays, by name.
    """

    folder: Path
    card: ModelCard
    networks: Mapping[str, nn.Module]
    assets: Mapping[str, NDArray[np.float32]]

    @cached_property
    def stored(self) -> Mapping[str, StoredNetwork]:
        """What is known of each network without building it, by name."""
        networks = self.networks
        if isinstance(networks, _BuiltWhenAsked):
            return {name: StoredNetwork(state) for name, state in networks.states.items()}
        return {name: StoredNetwork(network.state_dict()) for name, network in networks.items()}


@dataclass(frozen=True, eq=False)
class StoredNetwork:
    """The tensors of a network."""

    tensors: Arrays | State

    def state_dict(self) -> Arrays | State:
        return self.tensors


class Builder(Protocol):
    """What knows the networks of a card: its method."""

    signed_assets: frozenset[str]

    def build(self, card: ModelCard) -> Mapping[str, nn.Module]: ...

    def tensors(self, card: ModelCard) -> Mapping[str, Mapping[str, TensorKind]]: ...

    def assets(self, card: ModelCard) -> Mapping[str, tuple[int, ...]]: ...


def read_model(folder: Path, card: ModelCard, method: Builder) -> Model:
    """Reads the tensors of a model folder. Raises `UserError` with the first thing that is wrong."""
    # The checksum does not cover the card: sizes that do not fit the file must not reserve memory.
    wanted = method.tensors(card)
    files = {
        name: arrays_in(verified_bytes(folder / name, digest), folder / name) for name, digest in card.files.items()
    }
    taken = {}
    for name, kinds in wanted.items():
        if name not in card.networks:
            raise UserError(f"{folder / CARD_FILE}: networks.{name} is missing.")
        entry = card.networks[name]
        taken[name] = _taken(files[entry.file], entry.prefix, card)
        check_tensors(taken[name], kinds, str(folder / entry.file))
    assets = {name: _asset(folder, card, files, name, shape) for name, shape in method.assets(card).items()}
    for name in sorted(set(assets) - method.signed_assets):
        if not (assets[name] > 0).all():
            asset = card.assets[name]
            raise UserError(f"{folder / asset.file}: tensor {asset.tensor} must be above 0 everywhere.")
    return Model(folder, card, _BuiltWhenAsked(method, card, taken), assets)


class _BuiltWhenAsked(Mapping[str, "nn.Module"]):
    """The networks of a card with weights that were read: a run on OpenVINO may need none of them."""

    def __init__(self, method: Builder, card: ModelCard, states: Mapping[str, Arrays]) -> None:
        self._method, self._card, self.states = method, card, states

    @cached_property
    def _built(self) -> Mapping[str, nn.Module]:
        return built_with(self._method, self._card, self.states)

    def __getitem__(self, name: str) -> nn.Module:
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.states)

    def __len__(self) -> int:
        return len(self.states)


def built_with(method: Builder, card: ModelCard, states: Mapping[str, Arrays | State]) -> Mapping[str, nn.Module]:
    """The networks of a card with these weights, in evaluation mode."""
    import torch

    networks = method.build(card)
    for name, network in networks.items():
        # What was read may not be written to, which PyTorch cannot promise.
        arrays = arrays_of(states[name])
        network.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in arrays.items()})
        network.eval()
    return networks


def save_model(
    folder: Path,
    card: ModelCard,
    networks: Mapping[str, State | Arrays],
    assets: Mapping[str, NDArray[np.float32]] | None = None,
) -> ModelCard:
    """Writes a model folder, whole or not at all, and returns the card with its files and checksums filled in.

    Args:
        networks: the state dict of each network that the card names.
        assets: arrays that belong to the model.

    Raises:
        UserError: if the folder exists or the card is one that could not be read again.
    """

    def refuse() -> NoReturn:
        raise UserError(f"{folder} exists already; choose another name or remove it.")

    if folder.exists():
        refuse()
    prefixes = {name: f"{name}." if len(networks) > 1 else "" for name in networks}
    tensors = {prefixes[name] + key: tensor for name, state in networks.items() for key, tensor in state.items()}
    arrays = {name: np.asarray(array, dtype=np.float32) for name, array in (assets or {}).items()}
    # Apart, so that models of the same networks have the same file of weights.
    data = {WEIGHTS: bytes_of(tensors), **({ASSETS: bytes_of(arrays)} if arrays else {})}
    entries = {
        name: NetworkEntry(WEIGHTS, prefixes[name], card.networks[name].config if name in card.networks else {})
        for name in networks
    }
    signed = replace(
        card,
        files={file: hashlib.sha256(content).hexdigest() for file, content in data.items()},
        networks=entries,
        assets={name: AssetEntry(ASSETS, name) for name in arrays},
    )
    ModelCard.from_json(signed.to_json(), str(folder / CARD_FILE))
    with staged_folder(folder) as staged:
        for file, content in data.items():
            (staged / file).write_bytes(content)
        (staged / CARD_FILE).write_text(signed.to_json(), encoding="utf-8", errors="backslashreplace", newline="\n")
        take_place(staged, folder, refuse)
    return signed


def install_model(source: Path, verify: Callable[[Path], ModelCard], overwrite: bool = False) -> Path:
    """Copies a model folder or zip file into the user's folder, under the name on its card; returns the new folder.

    Args:
        verify: reads a model folder and raises `UserError` where it is not right.
        overwrite: an installed model of the same name is replaced, and nothing else.
    """
    target_root = user_folder()
    if target_root is None:
        raise UserError("There is no place to install models to: the package platformdirs or a home folder is missing.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = source if source.is_dir() else _unzipped(source, Path(scratch))
        card = verify(folder)
        if not _FOLDER_NAME.fullmatch(card.name):
            raise UserError(f"{source}: the model's name {card.name!r} cannot be a folder name.")
        target = target_root / card.name
        if target.exists() and target.samefile(folder):
            return target

        def others() -> list[Path]:
            if not overwrite:
                raise UserError(f"{target} exists already; use --overwrite to replace it.")
            if not (target / CARD_FILE).is_file():
                raise UserError(f"{target} holds no model; remove it or rename it yourself.")
            return others_in(target)

        if os.path.lexists(target):
            others()
        with staged_folder(target) as staged:
            for file in (*card.files, CARD_FILE):
                shutil.copyfile(folder / file, staged / file)
            take_place(staged, target, others)
        return target


def others_in(folder: Path) -> list[Path]:
    """What lies in a model folder and is no part of a model: it stays when the model is replaced."""
    return [entry for entry in folder.iterdir() if entry.name != CARD_FILE and entry.suffix != ".safetensors"]


def _taken(tensors: Arrays, prefix: str, card: ModelCard) -> Arrays:
    """The tensors of one network: those with its prefix, less what belongs to others."""
    others = {entry.tensor for entry in card.assets.values()}
    prefixes = tuple(e.prefix for e in card.networks.values() if e.prefix and e.prefix != prefix)
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix) and name not in others and not (prefixes and name.startswith(prefixes))
    }


def _asset(
    folder: Path, card: ModelCard, files: Mapping[str, Arrays], name: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    if name not in card.assets:
        raise UserError(f"{folder / CARD_FILE}: assets.{name} is missing.")
    entry = card.assets[name]
    where = f"{folder / entry.file}"
    if entry.tensor not in files[entry.file]:
        raise UserError(f"{where}: tensor {entry.tensor} is missing.")
    array: NDArray[Any] = files[entry.file][entry.tensor]
    check_tensors({entry.tensor: array}, {entry.tensor: TensorKind("float32", shape)}, where)
    return array


def _unzipped(source: Path, scratch: Path) -> Path:
    """The files of a model, taken by name out of a zip file: so no member decides where it lands."""
    check_plain(source)
    try:
        with zipfile.ZipFile(source) as archive:
            members: dict[str, zipfile.ZipInfo] = {}
            for item in archive.infolist():
                name = Path(item.filename).name
                if name != CARD_FILE and not name.endswith(".safetensors"):
                    continue
                if item.filename.count("/") > 1 or name in members:
                    raise UserError(f"{source} must hold one model: {name} is there twice or too deep.")
                if item.file_size > _LARGEST[Path(name).suffix] or len(members) >= _MOST_FILES:
                    raise UserError(f"{source}: {name} is larger than a model can be.")
                members[name] = item
            if CARD_FILE not in members or len(members) < 2:
                raise UserError(f"{source} must hold a {CARD_FILE} and its .safetensors files.")
            for name, item in members.items():
                (scratch / name).write_bytes(archive.read(item))
    except UserError:
        raise
    except Exception as error:  # Each way of compression fails in ways of its own on damaged bytes.
        raise UserError(f"{source} is neither a model folder nor a readable zip file ({error}).") from None
    return scratch
