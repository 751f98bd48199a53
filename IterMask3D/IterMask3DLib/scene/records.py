"""What the logic takes and gives beside the records of the core: without nodes, Qt and torch."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IterMask3DLib.core.contrast import contrast_in
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.lesion import Lesion
from IterMask3DLib.core.settings import About
from IterMask3DLib.scene.translation import tr as _

if TYPE_CHECKING:
    from IterMask3DLib.scene.nodes.result_nodes import ResultNodes

SAVEABLE = ("segmentation", "anomaly", "heatmap", "reconstruction", "lesions", "iterations", "report", "scene")
"""What `save` can write; `iterations` are the numbers of the steps and the curve."""


class NeedsConfirmation(UserError):
    """What was asked for would replace an anomaly that a person edited."""


class RunState(enum.Enum):
    """What the engine is doing for this scene."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"


class Severity(enum.Enum):
    """How much a check of an input matters: with an ERROR it cannot be used."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class InputCheck:
    """One thing that is wrong or odd about an input, in a sentence."""

    severity: Severity
    text: str


@dataclass(frozen=True)
class RunProgress:
    """Where something is that runs.

    Attributes:
        phase: its name; text: ready to show.
        fraction: 0 to 1.
        done, total: passes, or cases of a batch; the latter may be an estimate; 0 where there are none.
        remaining: seconds, None while unknown.
    """

    phase: str
    text: str
    fraction: float = 0.0
    done: int = 0
    total: int = 0
    remaining: float | None = None


@dataclass(frozen=True)
class RunSummary:
    """The end of a run.

    Attributes:
        nodes: None where it was cancelled before its first pass.
        anomaly_ml: None where nothing was segmented (yet).
        text: for the status line.
    """

    nodes: ResultNodes | None
    cancelled: bool
    anomaly_ml: float | None
    lesions: tuple[Lesion, ...]
    warnings: tuple[str, ...]
    seconds: float
    text: str


@dataclass(frozen=True)
class BatchCase:
    """One case of a batch; `status`: waiting, running, done, skipped, failed or stopped."""

    name: str
    path: str
    status: str
    message: str = ""


@dataclass(frozen=True)
class BatchSummary:
    """The end of a batch; `text`: for the status line."""

    cases: tuple[BatchCase, ...]
    cancelled: bool
    text: str


@dataclass(frozen=True)
class SettingInfo:
    """A setting of a method, and its value where a model is used as it is."""

    about: About
    value: Any


@dataclass(frozen=True)
class Description:
    """What the engine says of itself: see the request `describe` of `serve`.

    Attributes:
        missing: distributions that runs need and the engine lacks; faster: those that would make them faster there.
        models: name, title, origin, folder, problem, inputs, spacing, method, training, licence, settings of each.
        methods: title, citation, capabilities, settings of each, by name.
        diagnostics: text to paste.
    """

    missing: tuple[str, ...]
    faster: tuple[str, ...]
    default_model: str
    model_folder: Path | None
    models: tuple[Mapping[str, Any], ...]
    methods: Mapping[str, Mapping[str, Any]]
    diagnostics: str

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Description:
        folder = fields["model_folder"]
        return cls(
            tuple(fields["missing"]),
            tuple(fields["faster"]),
            fields["default_model"],
            None if folder is None else Path(folder),
            tuple(fields["models"]),
            fields["methods"],
            fields["diagnostics"],
        )

    def model(self, name: str | None = None) -> Mapping[str, Any] | None:
        """The model of a name or folder; None: the default. None where there is no such one."""
        wanted = name or self.default_model
        return next((model for model in self.models if wanted in (model["name"], model["folder"])), None)

    def model_for(self, volume: str) -> Mapping[str, Any] | None:
        """The first usable model whose only input is the contrast that a volume's name says; None where none is."""
        contrast = contrast_in(volume)
        usable = (model for model in self.models if contrast and not model["problem"])
        return next((model for model in usable if list(model["inputs"]) == [contrast]), None)

    def method(self, model: str | None = None) -> Mapping[str, Any]:
        """The method of a model; empty where it is not known."""
        found = self.model(model)
        return self.methods.get(found["method"], {}) if found is not None else {}

    def capabilities(self, model: str | None = None) -> frozenset[str]:
        """What the method of a model can give."""
        return frozenset(self.method(model).get("capabilities", ()))

    def settings(self, model: str | None = None) -> dict[str, SettingInfo]:
        """The settings of a model's method, by name."""
        found, settings = self.model(model), {}
        values = found["settings"] if found is not None else {}
        for each in self.method(model).get("settings", ()):
            known = {key: each[key] for key in ("kind", "label", "help", "unit", "least", "most", "length", "optional")}
            if each["beyond_paper"]:
                known["published"] = each["published"]
            when = each["when"] and tuple(each["when"])
            about = About(**known, choices=tuple(each["choices"]), advanced=each["advanced"], when=when)
            settings[each["name"]] = SettingInfo(about, values.get(each["name"], each["default"]))
        return settings


def found_text(ml: float, count: int) -> str:
    """What was found, in a few words."""
    if not count:
        return _("no anomaly")
    if count == 1:
        return _("{ml:.1f} ml in 1 lesion", ml=ml)
    return _("{ml:.1f} ml in {count} lesions", ml=ml, count=count)
