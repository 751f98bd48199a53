"""The auto-encoder behind the interface of all methods: one pass, and the error of what it gives back."""

from __future__ import annotations

import time

import numpy as np
import torch

from IterMask3DLib.core.result import ANOMALY, ERROR_MAP, HEATMAP, MASK, RECONSTRUCTION, Layer, Result, Step, Steps
from IterMask3DLib.methods.autoencoder.network import NETWORK, networks_of
from IterMask3DLib.methods.autoencoder.settings import AutoEncoderSettings
from IterMask3DLib.methods.autoencoder.training import AutoEncoderTask
from IterMask3DLib.methods.base import Method
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.prepare import Prepared
from IterMask3DLib.runtime.runner import Runtime


class AutoEncoderMethod(Method):
    """Squared error of the reconstruction, in scaled intensity."""

    build = staticmethod(networks_of)

    def infer(self, case: Prepared, model: Model, settings: AutoEncoderSettings, runtime: Runtime) -> Steps:
        begun = time.perf_counter()
        volume, brain = case.channels[0], case.brain
        network = runtime.runner(model.networks[NETWORK])
        reconstruction = network(torch.from_numpy(volume)[None, None])[0, 0].cpu().numpy()
        errors = np.square(reconstruction - volume) * brain
        scalars = {"mean_error": float(errors[brain].mean(dtype=np.float64))}
        layers = {HEATMAP: Layer.score(errors), RECONSTRUCTION: Layer.intensity(reconstruction)}
        shown = {ERROR_MAP: layers[HEATMAP], RECONSTRUCTION: layers[RECONSTRUCTION]}
        if settings.threshold is not None:
            anomaly = errors > settings.threshold
            scalars["mask_size"] = float(anomaly.sum())
            shown[MASK] = layers[ANOMALY] = Layer.mask(anomaly)
        result = Result(layers, case_score=scalars["mean_error"], scalars=scalars)
        seconds = time.perf_counter() - begun
        yield Step(1, 1, "reconstruct", seconds, scalars, shown, lambda: result)
        return result

    training_task = staticmethod(AutoEncoderTask)
