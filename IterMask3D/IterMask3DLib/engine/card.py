"""The card of a model: what it is, what it was trained on, and the numbers it is used with."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from IterMask3DLib.engine.errors import InputError
from IterMask3DLib.engine.highfreq import PUBLISHED_CUTOFF
from IterMask3DLib.engine.intensity import SCALES
from IterMask3DLib.engine.network import SIDE_MULTIPLE

FORMAT_VERSION = 1
INPUT_CHANNELS = 2
METHODS = ("itermask3d",)


@dataclass(frozen=True)
class CardGrid:
    """`spacing`: mm, isotropic; `shape`: voxels along R, A, S."""

    spacing: float
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Thresholds:
    """Limits of the threshold curve and of the shrink phase; the defaults are the published ones."""

    y_limit: float = 10.0
    r_squared_limit: float = 0.85
    passes: int = 100
    shrink_ratio: float = 0.01
    max_shrink: int = 100


@dataclass(frozen=True)
class Scoring:
    """How a residual becomes an error, beyond the paper.

    `smoothing_mm`: standard deviation of the Gaussian that averages the residual inside the brain before it is squared;
    `healthy_error`: errors are divided by those of healthy brains at the same place, which the model carries as a table; `regrow`: what
    stays masked is grown to the regions whose error exceeded this many thresholds in the first pass of the shrink phase (None: it is not);
    `times_median`: the threshold of the shrink phase in multiples of the median error of the volume's first pass (None: gamma chooses it).
    """

    smoothing_mm: float = 0.0
    healthy_error: bool = False
    regrow: float | None = None
    times_median: float | None = None


@dataclass(frozen=True)
class Card:
    """One model. `high_frequency_cutoff`: cycles per mm; `options`: what goes beyond the paper, by name; `figures`: measured, with command."""

    name: str
    title: str
    modality: str
    grid: CardGrid
    widths: tuple[int, ...]
    dropout: float = 0.2
    method: str = "itermask3d"
    intensity: str = "zscore_clip3"
    high_frequency_cutoff: float = PUBLISHED_CUTOFF
    gamma: float = 0.05
    thresholds: Thresholds = field(default_factory=Thresholds)
    scoring: Scoring = field(default_factory=Scoring)
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""
    sha256: str = ""
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Card:
        """Reads and checks a card; `where` names the file in the `InputError` that anything wrong raises."""
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where} is not valid JSON ({error}); install the model again.") from None
        if not isinstance(raw, dict):
            raise InputError(f"{where} does not hold a card; install the model again.")
        reader = _Reader(raw, where)
        if reader.integer("format_version") != FORMAT_VERSION:
            raise reader.wrong("format_version", f"is not {FORMAT_VERSION}; use a newer version of this software")
        grid, limits, scoring = reader.inner("grid"), reader.inner("thresholds"), reader.inner("scoring")
        card = cls(
            name=reader.text("name"),
            title=reader.text("title"),
            modality=reader.text("modality"),
            grid=CardGrid(grid.positive("spacing"), grid.shape("shape")),
            widths=reader.widths("widths"),
            dropout=reader.share("dropout"),
            method=reader.choice("method", METHODS),
            intensity=reader.choice("intensity", tuple(SCALES)),
            high_frequency_cutoff=reader.positive("high_frequency_cutoff"),
            gamma=reader.positive("gamma"),
            thresholds=Thresholds(
                y_limit=limits.positive("y_limit"),
                r_squared_limit=limits.number("r_squared_limit"),
                passes=limits.count("passes"),
                shrink_ratio=limits.positive("shrink_ratio"),
                max_shrink=limits.count("max_shrink"),
            ),
            scoring=Scoring(
                smoothing_mm=scoring.not_negative("smoothing_mm"),
                healthy_error=scoring.truth("healthy_error"),
                regrow=scoring.positive_or_none("regrow"),
                times_median=scoring.positive_or_none("times_median"),
            ),
            options=reader.mapping("options"),
            training=reader.mapping("training"),
            figures=reader.mapping("figures"),
            created=reader.text("created", may_be_empty=True),
            sha256=reader.text("sha256"),
        )
        return card


class _Reader:
    """Takes typed values out of a parsed card and says clearly which one is wrong."""

    def __init__(self, raw: Mapping[str, Any], where: str, prefix: str = "") -> None:
        self._raw, self._where, self._prefix = raw, where, prefix

    def wrong(self, key: str, what: str) -> InputError:
        return InputError(f"{self._where}: {self._prefix}{key} {what}.")

    def _value(self, key: str) -> Any:
        if key not in self._raw:
            raise self.wrong(key, "is missing")
        return self._raw[key]

    def truth(self, key: str) -> bool:
        value = self._value(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def text(self, key: str, may_be_empty: bool = False) -> str:
        value = self._value(key)
        if not isinstance(value, str) or not (value or may_be_empty):
            raise self.wrong(key, "must be a text")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in choices:
            raise self.wrong(key, f"is {value!r}; this version knows {', '.join(choices)}")
        return value

    def number(self, key: str) -> float:
        value = self._value(key)
        # A whole number beyond the range of floats is no number to compute with either.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
            raise self.wrong(key, "must be a number")
        return float(value)

    def share(self, key: str) -> float:
        value = self.number(key)
        if not 0 <= value <= 1:
            raise self.wrong(key, "must be between 0 and 1")
        return value

    def positive(self, key: str) -> float:
        value = self.number(key)
        if value <= 0:
            raise self.wrong(key, "must be above 0")
        return value

    def positive_or_none(self, key: str) -> float | None:
        return None if self._value(key) is None else self.positive(key)

    def not_negative(self, key: str) -> float:
        value = self.number(key)
        if value < 0:
            raise self.wrong(key, "must not be below 0")
        return value

    def integer(self, key: str) -> int:
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(key, "must be a whole number")
        return value

    def count(self, key: str) -> int:
        value = self.integer(key)
        if value < 1:
            raise self.wrong(key, "must be at least 1")
        return value

    def integers(self, key: str, length: int) -> tuple[int, ...]:
        value = self._value(key)
        if not isinstance(value, list) or len(value) != length or not all(type(v) is int and v > 0 for v in value):
            raise self.wrong(key, f"must be {length} positive whole numbers")
        return tuple(value)

    def shape(self, key: str) -> tuple[int, int, int]:
        x, y, z = self.integers(key, 3)
        if any(side % SIDE_MULTIPLE for side in (x, y, z)):
            raise self.wrong(key, f"must hold multiples of {SIDE_MULTIPLE}")
        return x, y, z

    def widths(self, key: str) -> tuple[int, ...]:
        value = self.integers(key, 5)
        # A residual unit adds its input to the first channels of its output, so it cannot have fewer of them.
        if any(narrow > wide for narrow, wide in pairwise((INPUT_CHANNELS, *value))):
            raise self.wrong(key, f"must start at {INPUT_CHANNELS} or more and never get smaller")
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self._value(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "must be an object")
        return value

    def inner(self, key: str) -> _Reader:
        return _Reader(self.mapping(key), self._where, f"{self._prefix}{key}.")
