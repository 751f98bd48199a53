"""What is seen of a stage: its progress, tables of losses, pictures, TensorBoard."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IterMask3DLib.core.files import read_plain, write_text
from IterMask3DLib.training.pictures import Row, draw_rows

_LONGEST_ROW = 1000
LOSSES, VALIDATION, PICTURES = "losses.csv", "validation.csv", "pictures"


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training is.

    Attributes:
        stage: its name; step, total: of the stage.
        loss: mean since the last one of these.
        steps_per_second, data_wait_share: since then.
        seconds_left: of the stage.
        validation: the last errors, by kind of example; empty before the first validation.
    """

    stage: str
    step: int
    total: int
    loss: float
    steps_per_second: float
    data_wait_share: float
    seconds_left: float
    validation: Mapping[str, float]


OnEvent = Callable[[str | TrainingProgress], None]
"""Hears sentences for the user, and how far a training is."""


class Monitor:
    """Reports a stage to whoever listens and to files in its folder, from step `first` of `total` on.

    Lines that an interrupted run had written after its last checkpoint are taken back, so each step stands in the
    tables once.
    """

    def __init__(self, folder: Path, stage: str, first: int, total: int, on_event: OnEvent) -> None:
        self._folder, self._stage, self._first, self._total, self._on_event = folder, stage, first, total, on_event
        self._begun = time.perf_counter()
        self._validation: Mapping[str, float] = {}
        for name in (LOSSES, VALIDATION):
            _take_back(folder / name, first)
        self._board = _tensorboard(folder / "tensorboard", first)
        if self._board is None:
            on_event(
                f"TensorBoard is not installed: losses and pictures are in the CSV files and in {PICTURES}/ alone."
            )

    def losses(self, step: int, losses: Sequence[float], rate: float, waited: float, seconds: float) -> None:
        """Hears the losses of the steps up to `step`, their rate, and in how much of the time no batch was there."""
        mean, pace, share = math.fsum(losses) / len(losses), len(losses) / seconds, waited / seconds
        row = {"step": step, "loss": f"{mean:.6g}", "learning_rate": f"{rate:.4g}"}
        _append(self._folder / LOSSES, {**row, "steps_per_second": f"{pace:.4g}", "data_wait_share": f"{share:.4f}"})
        self._scalars(
            step, {"loss/training": mean, "learning rate": rate, "steps per second": pace, "data wait share": share}
        )
        left = (time.perf_counter() - self._begun) / max(1, step - self._first) * (self._total - step)
        self._on_event(TrainingProgress(self._stage, step, self._total, mean, pace, share, left, self._validation))

    def validation(self, step: int, errors: Mapping[str, float]) -> None:
        """Hears the validation errors by kind of example."""
        _append(self._folder / VALIDATION, {"step": step, **{kind: f"{error:.6g}" for kind, error in errors.items()}})
        self._scalars(step, {f"validation/{kind.replace('_', ' ')}": error for kind, error in errors.items()})
        self._validation = errors

    def pictures(self, step: int, rows: Sequence[Row]) -> None:
        """Draws the pictures of `step`."""
        if not rows:
            return
        pixels = draw_rows(rows, f"step {step}", self._folder / PICTURES / f"step-{step:07d}.png")
        if self._board is not None:
            self._board.add_image("examples", pixels, step, dataformats="HWC")

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)


def _tensorboard(folder: Path, first: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first + 1 if first else None)


def _append(path: Path, row: Mapping[str, object]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def _take_back(path: Path, step: int) -> None:
    """Leaves in a table the whole rows up to `step`, whatever else a killed run or a damaged disk left there."""
    if not path.exists():
        return
    lines = read_plain(path).decode("utf-8", errors="replace").replace("\0", "").splitlines()
    header, *rows = list(csv.reader(line for line in lines if len(line) < _LONGEST_ROW)) or [[]]
    kept = [row for row in rows if len(row) == len(header) and row[0].isdecimal() and int(row[0]) <= step]
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([header, *kept] if kept else [])
    if kept:
        write_text(path, table.getvalue())
    else:
        path.unlink()
