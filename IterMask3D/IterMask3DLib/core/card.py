"""The card of a model: what it is, what it was trained on, and the settings it is used with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePath
from typing import Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.settings import About, checked

FORMAT = 2
CARD_FILE = "card.json"
SEED_AGREEMENT = "mean Dice between the outlines of two seeds"
"""Name of the figure that says how much a result depends on its seed."""

MOST_GRID_VOXELS = 2**26
"""Of a model's grid: a brain at 0.4 mm; a network on it takes more than 10 GB."""

_MOST_CHANNELS, _LONGEST_SIDE = 8, 1024
_LARGEST_FIGURE = 1e12
_TEXTS = ("on", "unit", "command", "version")


@dataclass(frozen=True)
class CardGrid:
    """What a model works on.

    Attributes:
        spacing: mm, isotropic (of slices: within them).
        shape: voxels along R, A, S, at least; of slices along R and A alone.
        multiple: sides are multiples of this.
        slice_spacing: mm between slices; None: as within them.
    """

    spacing: float
    shape: tuple[int, ...]
    multiple: int = 16
    slice_spacing: float | None = None

    @property
    def is_2d(self) -> bool:
        """Whether the model sees one slice at a time."""
        return len(self.shape) == 2

    @property
    def spacings(self) -> tuple[float, float, float]:
        """Voxel sizes along R, A, S in mm."""
        return self.spacing, self.spacing, self.slice_spacing or self.spacing


@dataclass(frozen=True)
class NetworkEntry:
    """A network of a model.

    Attributes:
        file, prefix: where its tensors are, and what their names begin with there.
        config: what its method builds it with.
    """

    file: str
    prefix: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AssetEntry:
    """An array that belongs to a model: the file and the name of its tensor there."""

    file: str
    tensor: str


@dataclass(frozen=True)
class Figure:
    """A measured number.

    Attributes:
        name: what was measured; on: of which cases.
        value: the number; low, high: its 95 % interval; unit: its unit.
        command: what measured it; version: of this software, whose words the command is in.
    """

    name: str
    value: float | str
    on: str = ""
    low: float | None = None
    high: float | None = None
    unit: str = ""
    command: str = ""
    version: str = ""


@dataclass(frozen=True)
class ModelCard:
    """One model.

    Attributes:
        name, title: for files and for readers.
        method: name of the method.
        inputs: names of the input channels, e.g. ("T1w",).
        grid, intensity: what images are resampled to, and the name of the scale of their intensities.
        files: SHA-256 of each file of tensors, by its name.
        networks, assets: what is in them.
        settings: those of the method, where they differ from its own.
        training: data, licence, attribution, recipe, commands.
        figures: measured.
        created: date.
    """

    name: str
    title: str
    method: str
    inputs: tuple[str, ...]
    grid: CardGrid
    networks: Mapping[str, NetworkEntry]
    intensity: str = "zscore_clip3"
    files: Mapping[str, str] = field(default_factory=dict)
    assets: Mapping[str, AssetEntry] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    created: str = ""
    format: int = FORMAT

    @property
    def modality(self) -> str:
        """The input channels in words."""
        return ", ".join(self.inputs)

    @property
    def sha256(self) -> str:
        """The checksums of its files."""
        return ", ".join(self.files.values())

    @property
    def deciding(self) -> dict[str, Any]:
        """Everything that decides a result, and nothing that only describes it."""
        return asdict(replace(self, title="", training={}, figures=(), created=""))

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelCard:
        """Reads and checks a card of this or an earlier format; `where` names the file in the `UserError` raised."""
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where} is not valid JSON ({str(error)[:80]}); install the model again.") from None
        if not isinstance(raw, dict):
            raise UserError(f"{where} does not hold a card; install the model again.")
        reader = _Reader(raw, where)
        if "format" not in raw and "format_version" in raw:
            if reader.whole("format_version", 0) != 1:
                raise reader.wrong("format_version", "is not 1; use a newer version of this software")
            return _from_format_1(reader)
        if reader.whole("format", 0) != FORMAT:
            raise reader.wrong("format", f"is not {FORMAT}; use a newer version of this software")
        return _from_format_2(reader)


class _Reader:
    """Takes typed values out of a parsed card and says clearly which one is wrong."""

    def __init__(self, raw: Mapping[str, Any], where: str, prefix: str = "") -> None:
        self.raw, self._where, self._prefix = raw, where, prefix

    def wrong(self, key: str, what: str) -> UserError:
        return UserError(f"{self._where}: {self._prefix}{key} {what}.")

    def value(self, key: str) -> Any:
        if key not in self.raw:
            raise self.wrong(key, "is missing")
        return self.raw[key]

    def _checked(self, key: str, kind: str, **limits: Any) -> Any:
        return checked(f"{self._prefix}{key}", self.value(key), About(kind, key, **limits), self._where)

    def text(self, key: str, may_be_empty: bool = False) -> str:
        text = str(self._checked(key, "text"))
        if not text and not may_be_empty:
            raise self.wrong(key, "must be a text")
        return text

    def number(self, key: str, least: float, most: float) -> float:
        return float(self._checked(key, "number", least=least, most=most))

    def whole(self, key: str, least: int, most: int = 10**9) -> int:
        return int(self._checked(key, "whole", least=least, most=most))

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        return str(self._checked(key, "choice", choices=choices))

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.value(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "must be an object")
        return value

    def inner(self, key: str) -> _Reader:
        return self.inside(self.mapping(key), key)

    def inside(self, raw: Mapping[str, Any], key: str) -> _Reader:
        return _Reader(raw, self._where, f"{self._prefix}{key}.")

    def entries(self, key: str) -> dict[str, _Reader]:
        inside = self.inner(key)
        return {name: inside.inner(name) for name in inside.raw}

    def shape(self, key: str, multiple: int, lengths: tuple[int, ...]) -> tuple[int, ...]:
        value = self.value(key)
        right = isinstance(value, list) and len(value) in lengths
        if not right or not all(type(v) is int and 0 < v <= _LONGEST_SIDE for v in value):
            raise self.wrong(key, f"must be {lengths[-1]} positive whole numbers up to {_LONGEST_SIDE}")
        if math.prod(value) > MOST_GRID_VOXELS:
            raise self.wrong(key, f"must be a grid of at most {MOST_GRID_VOXELS:,} voxels")
        if any(side % multiple for side in value):
            raise self.wrong(key, f"must hold multiples of {multiple}")
        return tuple(value)

    def file(self, key: str) -> str:
        name = self.text(key)
        # A card must not make the reader look outside its folder.
        if PurePath(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise self.wrong(key, "must name a .safetensors file beside the card")
        return name

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.value(key)
        right = isinstance(value, list) and 0 < len(value) <= _MOST_CHANNELS
        if not right or not all(isinstance(v, str) and v for v in value) or len(set(value)) < len(value):
            raise self.wrong(key, "must be a list of different names")
        return tuple(value)


def _from_format_2(reader: _Reader) -> ModelCard:
    grid = reader.inner("grid")
    multiple = grid.whole("multiple", 1, 256)
    slices = grid.raw.get("slice_spacing")
    files = reader.mapping("files")
    for name, digest in files.items():
        if not isinstance(digest, str) or len(digest) != 64:
            raise reader.wrong(f"files.{name}", "must be a SHA-256")
    card = ModelCard(
        name=reader.text("name"),
        title=reader.text("title"),
        method=reader.text("method"),
        inputs=reader.texts("inputs"),
        grid=CardGrid(
            grid.number("spacing", 0.1, 20),
            grid.shape("shape", multiple, (2, 3)),
            multiple,
            None if slices is None else grid.number("slice_spacing", 0.1, 20),
        ),
        networks={
            name: NetworkEntry(entry.file("file"), entry.text("prefix", may_be_empty=True), entry.mapping("config"))
            for name, entry in reader.entries("networks").items()
        },
        intensity=reader.text("intensity"),
        files=dict(files),
        assets={
            name: AssetEntry(entry.file("file"), entry.text("tensor"))
            for name, entry in reader.entries("assets").items()
        },
        settings=reader.mapping("settings"),
        training=reader.mapping("training"),
        figures=_figures(reader),
        created=reader.text("created", may_be_empty=True),
    )
    for file in (*(each.file for each in card.networks.values()), *(each.file for each in card.assets.values())):
        if file not in card.files:
            raise reader.wrong(f"files.{file}", "is missing")
    return card


def _figures(reader: _Reader) -> tuple[Figure, ...]:
    value = reader.value("figures")
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise reader.wrong("figures", "must be a list of objects")
    return tuple(_figure(reader.inside(each, f"figures[{number}]")) for number, each in enumerate(value))


def _figure(reader: _Reader) -> Figure:
    value = reader.value("value")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise reader.wrong("value", "must be a number or a text")
    more: dict[str, Any] = {name: reader.text(name, may_be_empty=True) for name in _TEXTS if name in reader.raw}
    for name in ("low", "high"):
        if reader.raw.get(name) is not None:
            more[name] = reader.number(name, -_LARGEST_FIGURE, _LARGEST_FIGURE)
    return Figure(reader.text("name"), value, **more)


def _from_format_1(reader: _Reader) -> ModelCard:
    """A card as earlier versions wrote it: of IterMask3D alone, with one file, and figures as nested objects."""
    grid, limits, scoring = reader.inner("grid"), reader.inner("thresholds"), reader.inner("scoring")
    file, normative = "model.safetensors", scoring.value("healthy_error")
    if not isinstance(normative, bool):
        raise scoring.wrong("healthy_error", "must be true or false")
    training, options = dict(reader.mapping("training")), reader.mapping("options")
    if options:
        training["recipe"] = options
    return ModelCard(
        name=reader.text("name"),
        title=reader.text("title"),
        method=reader.choice("method", ("itermask3d",)),
        inputs=(reader.text("modality"),),
        grid=CardGrid(grid.number("spacing", 0.1, 20), grid.shape("shape", 16, (3,))),
        networks={
            "reconstruction": NetworkEntry(
                file, config={"widths": reader.value("widths"), "dropout": reader.number("dropout", 0, 1)}
            )
        },
        intensity=reader.text("intensity"),
        files={file: reader.text("sha256")},
        assets={"normative_error": AssetEntry(file, "healthy_error")} if normative else {},
        settings={
            "gamma": reader.value("gamma"),
            "high_frequency_cutoff": reader.value("high_frequency_cutoff"),
            "y_limit": limits.value("y_limit"),
            "r_squared_limit": limits.value("r_squared_limit"),
            "sweep_passes": limits.value("passes"),
            "stop_ratio": limits.value("shrink_ratio"),
            "max_shrink": limits.value("max_shrink"),
            "smoothing_mm": scoring.value("smoothing_mm"),
            "normative_error": normative,
            "region_growing": scoring.value("regrow"),
            "median_multiple": scoring.value("times_median"),
        },
        training=training,
        figures=tuple(_flattened(reader.mapping("figures"))),
        created=reader.text("created", may_be_empty=True),
    )


def _flattened(figures: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[Figure]:
    found = []
    for key, value in figures.items():
        if isinstance(value, Mapping):
            found += _flattened(value, (*path, str(key)))
        elif isinstance(value, (str, int, float)):
            found.append(Figure(": ".join((*path, str(key))), value))
    return found
