"""MMCCD behind the interface of all methods."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import ndimage

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume
from IterMask3DLib.core.result import ANOMALY, HEATMAP, RECONSTRUCTION, Layer, Result, Step, Steps
from IterMask3DLib.methods.base import Method
from IterMask3DLib.methods.mmccd.bands import bands_of, in_rounds, pixels
from IterMask3DLib.methods.mmccd.convert import convert
from IterMask3DLib.methods.mmccd.cycle import CycleErrors, DiffusionCycle, Look, PlainCycle
from IterMask3DLib.methods.mmccd.diffusion import Schedule
from IterMask3DLib.methods.mmccd.network import BACKWARD, DIFFUSION, FORWARD, DenoisingNetwork, networks_of
from IterMask3DLib.methods.mmccd.settings import MMCCDSettings
from IterMask3DLib.methods.mmccd.training import TranslationTask
from IterMask3DLib.methods.slices import as_slices
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.intensity import BACKGROUND
from IterMask3DLib.preprocessing.prepare import Prepared
from IterMask3DLib.runtime.noise import seeded_noise
from IterMask3DLib.runtime.runner import Runtime

UNIT = "squared scaled intensity"


class MMCCD(Method):
    """To another channel and back: what does not come back is anomalous."""

    build = staticmethod(networks_of)

    def infer(self, case: Prepared, model: Model, settings: MMCCDSettings, runtime: Runtime) -> Steps:
        """A `Step` a pass over a batch of slices and bands, without layers: a run has up to tens of thousands."""
        cycle, counted = cycle_of(model, settings, runtime), eroded(case.brain, settings.erosion_mm / case.spacing[0])
        if not counted.any():
            raise UserError(f"No brain is left {settings.erosion_mm:g} mm from its rim; lower --erosion-mm.")
        given, *target = (as_slices(channel) for channel in case.channels)
        found = CycleErrors(given, target[0] if target else None)
        rounds = looks_of(case, settings) if isinstance(cycle, DiffusionCycle) else [whole_slices(case.brain)]
        looks = [look for each in rounds for look in each]
        size = min(settings.batch, len(looks))
        number, expected, result = 0, -(-len(looks) // size) * cycle.passes, None
        begun = time.perf_counter()
        for start in range(0, len(looks), size):
            part = looks[start : start + size]
            # Executors compile for a size: the last batch has that of the others.
            for phase, passed in cycle.run(given, [*part, *part[-1:] * (size - len(part))]):
                if passed is not None:
                    there, back = (slices[:, 0].numpy() for slices in passed)
                    for place, look in enumerate(part):
                        found.add(look, there[place], back[place])
                    if start + len(part) >= len(rounds[0]):
                        result = result_of(found, case.brain, counted, settings)
                number += 1
                stop = None if result is None else partial(replace, result)
                scalars = {} if result is None else result.scalars
                yield Step(number, expected, phase, time.perf_counter() - begun, scalars, stop=stop)
                begun = time.perf_counter()
        assert result is not None
        return result

    training_task = staticmethod(TranslationTask)
    convert = staticmethod(convert)


def cycle_of(model: Model, settings: MMCCDSettings, runtime: Runtime) -> DiffusionCycle | PlainCycle:
    """The networks of a model at work. Raises `UserError` where it has none of the kind that the settings ask for."""
    wanted = DIFFUSION if settings.translation == "diffusion" else FORWARD
    if wanted not in model.networks:
        other = "unet" if wanted == DIFFUSION else "diffusion"
        raise UserError(f"Model {model.card.name} has no network {wanted}; use --translation {other}.")
    back = runtime.runner(model.networks[BACKWARD])
    if wanted == FORWARD:
        return PlainCycle(runtime.runner(model.networks[FORWARD]), back)
    network = runtime.runner(model.networks[DIFFUSION], DenoisingNetwork)
    schedule = Schedule.of(settings.denoising_steps)
    return DiffusionCycle(network, back, schedule, seeded_noise(runtime.seed), settings.sampler)


def looks_of(case: Prepared, settings: MMCCDSettings) -> list[list[Look]]:
    """Every slice behind every band that touches its brain, in rounds; the others could change nothing in it."""
    width, step = pixels(settings.band_mm, case.spacing[0]), pixels(settings.band_step_mm, case.spacing[0])
    shape = case.brain.shape[0], case.brain.shape[1]
    bands = bands_of(shape, width, step)
    numbers = {band: number for number, band in enumerate(bands)}
    rounds = [
        [
            Look(z, band, numbers[band])
            for band in each
            for z in range(case.brain.shape[2])
            if band.touches(case.brain[..., z])
        ]
        for each in in_rounds(bands, width, step)
    ]
    return [each for each in rounds if each]


def whole_slices(brain: BoolVolume) -> list[Look]:
    """Every slice with brain, nothing hidden."""
    return [Look(int(z)) for z in np.flatnonzero(brain.any(axis=(0, 1)))]


def eroded(brain: BoolVolume, radius: float) -> BoolVolume:
    """The brain [x, y, z] without what lies within `radius` pixels of its rim in the slice."""
    reach = int(radius)
    x, y = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x**2 + y**2 <= radius**2)[..., None]
    return np.asarray(ndimage.binary_erosion(brain, disc), dtype=bool)


def result_of(found: CycleErrors, brain: BoolVolume, counted: BoolVolume, settings: MMCCDSettings) -> Result:
    """What the looks so far say. `counted`: where errors count [x, y, z]."""
    errors = np.where(counted, np.moveaxis(found.errors(), 0, -1), np.float32(0))
    image = np.where(brain, np.moveaxis(found.images(), 0, -1), np.float32(BACKGROUND))
    layers = {HEATMAP: Layer.score(errors, UNIT), RECONSTRUCTION: Layer.intensity(image)}
    totals, sizes = errors.sum(axis=(0, 1), dtype=np.float64), counted.sum(axis=(0, 1))
    scores = tuple(float(score) for score in totals / np.maximum(sizes, 1))
    scalars = {"mean_error": float(totals.sum() / sizes.sum())}
    if settings.threshold is not None:
        anomaly = errors > settings.threshold
        layers[ANOMALY] = Layer.mask(anomaly)
        scalars["mask_size"] = float(anomaly.sum())
    return Result(layers, scalars["mean_error"], scores, scalars)
