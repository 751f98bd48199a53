"""The masked auto-encoder behind the interface of all methods: some masked passes, then the classifier."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.core.result import ERROR_MAP, HEATMAP, RECONSTRUCTION, Layer, Result, Step, Steps
from IterMask3DLib.methods.base import Method
from IterMask3DLib.methods.mae.convert import convert
from IterMask3DLib.methods.mae.network import (
    ABNORMAL,
    AUTOENCODER,
    CLASSIFIER,
    MaskedAutoEncoder,
    MaskedPass,
    networks_of,
)
from IterMask3DLib.methods.mae.reconstruction import fitted, patch_noise, with_noise
from IterMask3DLib.methods.mae.settings import MAESettings
from IterMask3DLib.methods.mae.training import MAETask
from IterMask3DLib.methods.slices import as_slices, as_volume, check_slices, in_batches, slices_with_brain
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.prepare import Prepared
from IterMask3DLib.runtime.runner import Runtime

_SMALLER = "The brain is larger than the grid of the model; its slices were made smaller to fit."


class MaskedAutoEncoderMethod(Method):
    """Scores of slices and of the case, and where the reconstruction is off; it finds no outline."""

    build = staticmethod(networks_of)

    def infer(self, case: Prepared, model: Model, settings: MAESettings, runtime: Runtime) -> Steps:
        """One `Step` a masked pass over the whole volume, and one for the classifier."""
        check_slices(case)
        slices = _Slices(as_slices(case.channels[0]), as_slices(case.brain), settings.smallest_slice)
        network = model.networks[AUTOENCODER]
        assert isinstance(network, MaskedAutoEncoder)
        shape, patches = network.sizes.shape, network.sizes.patches
        masked = runtime.runner(network, partial(MaskedPass, ratio=settings.mask_ratio))
        given = fitted(slices.shown, shape)
        total, expected = torch.zeros_like(given), settings.masked_passes + 1
        for number in range(1, settings.masked_passes + 1):
            begun = time.perf_counter()
            noise = patch_noise((runtime.seed, number), len(slices.brain), patches)[slices.chosen]
            total += in_batches(masked, with_noise(given, noise, patches))
            yield slices.step(number, expected, begun, total / number)
        begun, mean = time.perf_counter(), total / settings.masked_passes
        logits = in_batches(runtime.runner(model.networks[CLASSIFIER]), (given - mean).abs())
        result = slices.result(mean, logits.softmax(dim=1)[:, ABNORMAL], (_SMALLER,) if slices.differ(shape) else ())
        seconds = time.perf_counter() - begun
        yield Step(expected, expected, "classify", seconds, result.scalars, stop=lambda: result)
        return result

    training_task = staticmethod(MAETask)
    convert = staticmethod(convert)


class _Slices:
    """The slices of a case: `values` float32 and `brain` bool [z, x, y]; `chosen` are those with enough brain."""

    def __init__(self, values: FloatVolume, brain: BoolVolume, smallest: float) -> None:
        self.values, self.brain = values, brain
        self.chosen = slices_with_brain(brain, smallest)
        self.shown = torch.from_numpy(values[self.chosen])[:, None]

    def differ(self, shape: Sequence[int]) -> bool:
        """Whether they have another size than that of a network."""
        return tuple(self.values.shape[1:]) != tuple(shape)

    def reconstruction(self, mean: Tensor) -> FloatVolume:
        """What the network gave for the chosen slices, [z, x, y]; the slices themselves elsewhere."""
        whole = self.values.copy()
        whole[self.chosen] = fitted(mean, self.values.shape[1:])[:, 0].numpy()
        return whole

    def errors(self, reconstruction: FloatVolume) -> FloatVolume:
        """Absolute residuals in the brain, [z, x, y]."""
        return np.asarray(np.abs(self.values - reconstruction) * self.brain)

    def step(self, number: int, expected: int, begun: float, mean: Tensor) -> Step:
        """The step of a masked pass; `mean`: of the passes so far."""
        whole = self.reconstruction(mean)
        scalars = {"mean_error": float(self.errors(whole)[self.brain].mean(dtype=np.float64))}
        layers = {
            ERROR_MAP: Layer.score(lambda: as_volume(self.errors(whole))),
            RECONSTRUCTION: Layer.intensity(lambda: as_volume(whole)),
        }
        return Step(number, expected, "reconstruct", time.perf_counter() - begun, scalars, layers)

    def result(self, mean: Tensor, abnormal: Tensor, warnings: tuple[str, ...]) -> Result:
        """The result; `abnormal`: probability of each chosen slice."""
        whole = self.reconstruction(mean)
        errors, scores = self.errors(whole), np.zeros(len(self.values))
        scores[self.chosen] = abnormal.numpy()
        return Result(
            layers={HEATMAP: Layer.score(as_volume(errors)), RECONSTRUCTION: Layer.intensity(as_volume(whole))},
            # A volume is as abnormal as the slice in which most can be seen.
            case_score=float(scores.max()),
            slice_scores=tuple(float(score) for score in scores),
            scalars={"mean_error": float(errors[self.brain].mean(dtype=np.float64))},
            warnings=warnings,
        )
