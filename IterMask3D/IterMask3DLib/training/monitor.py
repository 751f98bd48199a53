"""What a user sees of a run: a line of progress, tables of losses, pictures, TensorBoard."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from IterMask3DLib.core.progress import clock
from IterMask3DLib.training.sheet import draw_sheet

LOSSES, VALIDATION, SHEETS = "losses.csv", "validation.csv", "sheets"


class Monitor:
    """Reports the run in `folder` to the screen and to its files, from step `first` of `total` on.

    Lines that an interrupted run had written after its last checkpoint are taken back, so each step stands in the tables once.
    """

    def __init__(self, folder: Path, out: TextIO, first: int, total: int) -> None:
        self._folder, self._out, self._first, self._total = folder, out, first, total
        self._live = out.isatty()
        self._begun = time.perf_counter()
        self._validation = ""
        for name in (LOSSES, VALIDATION):
            _take_back(folder / name, first)
        self._board = _tensorboard(folder / "tensorboard", first)
        if self._board is None:
            self.say("TensorBoard is not installed: losses and pictures are in the CSV files and in sheets/ alone.")

    def losses(self, step: int, losses: Sequence[float], rate: float, waited: float, seconds: float) -> None:
        """Hears the losses of the steps up to `step`, the learning rate, and how many of how many seconds the network waited for data."""
        mean, pace = math.fsum(losses) / len(losses), len(losses) / seconds
        row = {"step": step, "loss": f"{mean:.6g}", "learning_rate": f"{rate:.4g}"}
        speed = {"steps_per_second": f"{pace:.4g}", "data_wait_share": f"{waited / seconds:.4f}"}
        _append(self._folder / LOSSES, {**row, **speed})
        self._scalars(step, {"loss/training": mean, "learning rate": rate, "steps per second": pace, "data wait share": waited / seconds})
        left = (time.perf_counter() - self._begun) / max(1, step - self._first) * (self._total - step)
        told = f"step {step} of {self._total}: loss {mean:.4f}{self._validation}, {pace:.2f} steps/s"
        self._write(f"{told}, waiting for data {waited / seconds:.0%}, {clock(left)} left", passing=True)

    def validation(self, step: int, errors: Mapping[str, float]) -> None:
        """Hears the validation errors by kind of mask."""
        _append(self._folder / VALIDATION, {"step": step, **{kind: f"{error:.6g}" for kind, error in errors.items()}})
        self._scalars(step, {f"validation/{kind.replace('_', ' ')}": error for kind, error in errors.items()})
        self._validation = f", validation {errors['blob']:.4f} blob / {errors['whole_brain']:.4f} whole brain"

    def sheet(self, step: int, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Draws the pictures of `step`."""
        pixels = draw_sheet(rows, f"step {step}", self._folder / SHEETS / f"step-{step:07d}.png")
        if self._board is not None:
            self._board.add_image("reconstructions", pixels, step, dataformats="HWC")

    def say(self, text: str) -> None:
        """Shows a line that stays."""
        self._write(text, passing=False)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
        if self._live:
            self._out.write("\n")

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def _write(self, line: str, passing: bool) -> None:
        self._out.write(f"\r\x1b[K{line}{'' if passing else chr(10)}" if self._live else f"{line}\n")
        self._out.flush()


def _tensorboard(folder: Path, first: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first + 1 if first else None)


def _append(path: Path, row: Mapping[str, object]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _take_back(path: Path, step: int) -> None:
    """Leaves in a table the rows up to `step`; a half-written last one goes too."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    kept = [row for row in rows if len(row) == len(header) and row[0].isdigit() and int(row[0]) <= step]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *kept] if header else [])
