"""What each step of the bundled models' inference gains: added one after another, and left out.

    python -m benchmarks.ablation DATA -o OUT.csv

DATA as of `itermask3d evaluate`. On what the recipe was chosen on: the T1, T2 and FLAIR of `tumours/`, and one stroke
in each validation brain of `ixi`, of the shapes that are for tuning, their sizes in turn. Two noises hide the brain
where nothing else is said (the bundled models take eight). Average precision and the Dice of the best threshold of each
case compare scores that have different units; the own mask is there where the thresholds of the card hold. Stopped and
started again with the same OUT it goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.agreement import dice
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import Layer
from IterMask3DLib.evaluation.cases import EvaluationCase, LoadedCase, calibration_cases, labelled_cases, read_cohort
from IterMask3DLib.evaluation.detectors import ERROR_THRESHOLDS, ModelDetector
from IterMask3DLib.evaluation.metrics import dice_curve
from IterMask3DLib.evaluation.ranking import average_precision, of_all
from IterMask3DLib.methods.itermask3d.executable_unet import ExecutableUNet
from IterMask3DLib.methods.itermask3d.folded_unet import NETWORK
from IterMask3DLib.methods.itermask3d.method import brain_of, mean_brain_of
from IterMask3DLib.methods.itermask3d.normative_score import NORMATIVE_MEAN, NORMATIVE_SD, NormativeScore
from IterMask3DLib.methods.itermask3d.settings import Settings
from IterMask3DLib.methods.itermask3d.whole_brain import (
    Brain,
    WholeBrainPasses,
    WholeBrainScore,
    normative_count,
    outline,
    threshold_of,
)
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.labelled import by_contrast, find_labelled
from IterMask3DLib.run import CaseRun
from IterMask3DLib.runtime.noise import seeded_noise

Row = dict[str, Any]

MODELS = {"T1w": "t1w", "T2w": "t2w", "FLAIR": "flair"}
NOISES = 8
ONE, TWO_NOISES, ONE_NOISE_MIRRORED, FOUR = (0,), (0, 2), (0, 1), (0, 1, 2, 3)
"""Passes by number: of each noise one of the volume and one of its mirror image."""

SINGLE = {"scales_mm": (2.0,), "other_side": False}
SQUARED, PAPER, ITERATIVE = "one pass, squared error", "the paper's iterations, same network", "t1w-2mm, iterating"
HYSTERESES = (1.0, 0.5, 0.4)
MULTIPLES = np.geomspace(0.5, 2.0, 13)
"""Of the card's threshold: what the best one with hysteresis is looked for among."""


@dataclass(frozen=True)
class Variant:
    """A way to score.

    Attributes:
        title: what a reader sees; passes: whose reconstructions are averaged.
        changes: of the card's settings.
        is_fitted: whether the volume is fitted from the reconstruction.
        is_normative: whether the score is compared with healthy brains.
        is_whole: whether mean brain and intensity count as on the card, so that its thresholds hold.
    """

    title: str
    passes: Sequence[int]
    changes: Mapping[str, Any] = field(default_factory=dict)
    is_fitted: bool = True
    is_normative: bool = False
    is_whole: bool = False


VARIANTS = (
    Variant("one pass, residual on the model's side, averaged over 2 mm", ONE, SINGLE, is_fitted=False),
    Variant("+ robust fit, the same everywhere", ONE, {**SINGLE, "gain_order": 0, "offset_order": 0}),
    Variant("+ gain and offset by place", ONE, SINGLE),
    Variant("+ a second noise", TWO_NOISES, SINGLE),
    Variant("+ each mirrored left to right", FOUR, SINGLE),
    Variant("+ several scales", FOUR, {"other_side": False}),
    Variant("+ less the other side", FOUR),
    Variant("+ compared with healthy brains", FOUR, is_normative=True),
    Variant("+ mean of healthy brains (T1w), intensity (FLAIR): the model", FOUR, is_normative=True, is_whole=True),
    Variant("the model with one noise", ONE_NOISE_MIRRORED, is_normative=True, is_whole=True),
    Variant("the model, not mirrored", TWO_NOISES, is_normative=True, is_whole=True),
    Variant("the model with one pass", ONE, is_normative=True, is_whole=True),
    Variant("the model with eight noises, as bundled", tuple(range(2 * NOISES)), is_normative=True, is_whole=True),
)


class Unfitted(WholeBrainScore):
    """The score of the plain difference of volume and reconstruction."""

    def residual(self, reconstruction: FloatVolume) -> FloatVolume:
        given = self._given
        return np.where(given.brain, given.volume - reconstruction, 0).astype(np.float32)


@dataclass(frozen=True)
class Seen:
    """A case and every pass over it: reconstructions float32 [x, y, z] on the model grid."""

    loaded: LoadedCase
    model: Model
    run: CaseRun
    settings: Settings
    given: Brain
    reconstructions: Sequence[FloatVolume]

    @classmethod
    def of(cls, loaded: LoadedCase, model: Model) -> Seen:
        run = CaseRun.of(ModelDetector(model, Request()).case_for(loaded), model, Request())
        settings, given = replace(run.settings, noises=NOISES, flips=True), brain_of(run.prepared)
        network = run.runtime.runner(model.stored[NETWORK], ExecutableUNet.of)
        passes = WholeBrainPasses(given, settings, network, seeded_noise(run.runtime.seed))
        return cls(loaded, model, run, settings, given, [passes(number + 1) for number in range(passes.count)])

    def score(self, variant: Variant) -> FloatVolume:
        """The score of a variant [x, y, z] on the model grid."""
        settings = replace(self.settings, **variant.changes)
        if not variant.is_whole:
            settings = replace(settings, mean_brain_weight=0.0, intensity_weight=0.0)
        tables = zip(self.model.assets[NORMATIVE_MEAN], self.model.assets[NORMATIVE_SD], strict=True)
        normative = [NormativeScore(*pair) for pair in tables][: normative_count(settings)]
        scoring = WholeBrainScore if variant.is_fitted else Unfitted
        mean = np.mean([self.reconstructions[number] for number in variant.passes], axis=0, dtype=np.float32)
        mean_brain = mean_brain_of(self.model, settings)
        return scoring(self.given, settings, normative if variant.is_normative else None, mean_brain)(mean)

    def outlined(self, score: FloatVolume, high: float, share: float) -> BoolVolume:
        """The mask of a threshold on the grid of the case [i, j, k]. `share`: of the hysteresis."""
        mask = outline(score, high, replace(self.settings, hysteresis=share))
        return np.asarray(self.run.prepared.restore(Layer.mask(mask)).read())

    def rows(self) -> Iterator[Row]:
        """A row for each way to score."""
        squared = np.square(np.where(self.given.brain, self.given.volume - self.reconstructions[0], 0))
        yield {"variant": SQUARED, **self._ranked(squared)}
        own = threshold_of(self.settings, 0)
        for variant in VARIANTS:
            score = self.score(variant)
            row = {"variant": variant.title, **self._ranked(score)}
            if variant.is_whole:
                row["own"] = dice(self.outlined(score, own, self.settings.hysteresis), self._truth)
            yield row
            if variant.is_whole and variant.passes == FOUR:
                for share in HYSTERESES:
                    masks = (self.outlined(score, multiple * own, share) for multiple in MULTIPLES)
                    title = f"the model, hysteresis {share:g}"
                    yield {"variant": title, "oracle": max(dice(mask, self._truth) for mask in masks)}

    @property
    def _truth(self) -> BoolVolume:
        assert self.loaded.truth is not None
        return self.loaded.truth & self.loaded.brain

    def _ranked(self, score: FloatVolume) -> Row:
        return ranked(self.loaded, np.asarray(self.run.prepared.restore(Layer.score(score)).read()))


def ranked(loaded: LoadedCase, score: FloatVolume) -> Row:
    """Average precision and the Dice of the best threshold of a score [i, j, k]."""
    brain = loaded.brain
    assert loaded.truth is not None
    best = dice_curve(score, loaded.truth & brain, brain, ERROR_THRESHOLDS).max()
    return {"oracle": float(best), "ap": of_all(average_precision, score[brain], loaded.truth[brain])}


def iterating(loaded: LoadedCase, title: str, model: Model, request: Request) -> Row:
    """A row of a run that iterates: the error of its last pass, and its own mask."""
    found = ModelDetector(model, request).detect(loaded)
    assert found.mask is not None and found.score is not None and loaded.truth is not None
    own = dice(found.mask & loaded.brain, loaded.truth & loaded.brain)
    return {"variant": title, **ranked(loaded, found.score), "own": own}


def cases_of(data: Path) -> list[tuple[str, EvaluationCase]]:
    """Set and case."""
    found = labelled_cases(by_contrast(find_labelled(data / "tumours", tuple(MODELS))))
    cases = [(f"tumours, {case.channels[0]}", case) for case in found]
    brains = read_cohort(data / "ixi")["val"]
    strokes = calibration_cases(brains, data / "stroke_shapes", 0)
    per_brain = len(strokes) // len(brains)
    return cases + [("strokes", strokes[per_brain * n + n % per_brain]) for n in range(len(brains))]


def stepwise(contrast: str, loaded: LoadedCase) -> Iterator[Row]:
    """The rows of the bundled model of a contrast."""
    yield from Seen.of(loaded, load_model(find_model(MODELS[contrast]))).rows()


def iterative(contrast: str, loaded: LoadedCase) -> Iterator[Row]:
    """The rows of what iterates."""
    yield iterating(loaded, PAPER, load_model(find_model(MODELS[contrast])), Request(quality="published"))
    if contrast == "T1w":
        yield iterating(loaded, ITERATIVE, load_model(find_model("t1w-2mm")), Request())


COLUMNS = ("set", "case", "variant", "ap", "oracle", "own")


def read_rows(out: Path) -> list[Row]:
    if not out.exists():
        return []
    with out.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(out: Path, rows: Sequence[Row]) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def table(rows: Sequence[Row]) -> str:
    """Means by set as Markdown: average precision, Dice of the best threshold, Dice of the own mask."""
    sets, variants = (list(dict.fromkeys(row[name] for row in rows)) for name in ("set", "variant"))

    def mean(where: str, variant: str, name: str) -> str:
        values = [
            float(row[name])
            for row in rows
            if (row["set"], row["variant"]) == (where, variant) and row.get(name, "") != ""
        ]
        return f"{np.mean(values):.2f}" if values else "–"

    lines = ["| | " + " | ".join(f"{where}: AP, best, own" for where in sets) + " |", "|---" * (1 + len(sets)) + "|"]
    for variant in variants:
        cells = [", ".join(mean(where, variant, name) for name in COLUMNS[3:]) for where in sets]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT.csv")
    options = parser.parse_args()
    rows, cases, loaded = read_rows(options.out), cases_of(options.data), {}
    for first, make in ((SQUARED, stepwise), (PAPER, iterative)):
        for where, case in cases:
            if any((row["case"], row["variant"]) == (case.name, first) for row in rows):
                continue
            loaded[case.name] = loaded.get(case.name) or case.load()
            for row in make(case.channels[0], loaded[case.name]):
                known = {name: round(value, 4) for name, value in row.items() if isinstance(value, float)}
                rows.append({"set": where, "case": case.name, "variant": row["variant"], **known})
            write_rows(options.out, rows)
            print(f"{where}: {case.name}, {first}", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
