"""The tables of a case that every door writes: its lesions and its iterations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from IterMask3DLib.core.files import write_csv
from IterMask3DLib.core.lesion import Lesion

LESION_COLUMNS = (
    "lesion",
    "volume_ml",
    "centroid_r_mm",
    "centroid_a_mm",
    "centroid_s_mm",
    "mean_error",
    "peak_error",
    "voxels",
)


def write_lesions(path: Path, lesions: Iterable[Lesion]) -> None:
    """One row a lesion, largest first."""
    rows = (
        (
            x.number,
            f"{x.volume_ml:.4f}",
            *(f"{c:.2f}" for c in x.centroid_ras),
            f"{x.mean_score:.5f}",
            f"{x.peak_score:.5f}",
            x.voxels,
        )
        for x in lesions
    )
    write_csv(path, LESION_COLUMNS, rows)


def write_iterations(path: Path, steps: Sequence[tuple[int, str, float, Mapping[str, float]]], brain_ml: float) -> None:
    """One row a step, in the order of the volumes beside it: iteration, pass, phase, its scalars, seconds.

    Shares of the brain come in percent and, for what is masked, also in ml.

    Args:
        steps: number of the pass (0 for a mask that a person drew), phase, seconds and scalars of each.
    """
    names = list(dict.fromkeys(name for *_, scalars in steps for name in scalars))
    columns = ["iteration", "pass", "phase", *(c for name in names for c in _columns(name)), "seconds"]
    rows = [
        [
            item,
            number,
            phase,
            *(v for name in names for v in _cells(name, scalars.get(name), brain_ml)),
            f"{seconds:.3f}",
        ]
        for item, (number, phase, seconds, scalars) in enumerate(steps, start=1)
    ]
    write_csv(path, columns, rows)


def _columns(name: str) -> tuple[str, ...]:
    if name == "masked_fraction":
        return "masked_ml", "masked_percent"
    return (f"{name.removesuffix('_fraction')}_percent",) if name.endswith("_fraction") else (name,)


def _cells(name: str, value: float | None, brain_ml: float) -> tuple[str, ...]:
    if value is None:
        return ("",) * len(_columns(name))
    if name == "masked_fraction":
        return f"{value * brain_ml:.4f}", f"{100 * value:.3f}"
    return (f"{100 * value:.3f}",) if name.endswith("_fraction") else (f"{value:.8g}",)
