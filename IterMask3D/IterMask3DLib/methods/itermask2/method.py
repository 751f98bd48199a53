"""IterMask2 behind the interface of all methods."""

from __future__ import annotations

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.result import Steps
from IterMask3DLib.methods.base import Method
from IterMask3DLib.methods.itermask2.calibration import calibrate
from IterMask3DLib.methods.itermask2.convert import convert
from IterMask3DLib.methods.itermask2.loop import Slices, refine
from IterMask3DLib.methods.itermask2.network import FIRST, MASKED, networks_of
from IterMask3DLib.methods.itermask2.settings import IterMask2Settings
from IterMask3DLib.methods.itermask2.training import IterMask2Task
from IterMask3DLib.methods.slices import check_slices
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.prepare import Prepared
from IterMask3DLib.runtime.noise import seeded_noise
from IterMask3DLib.runtime.runner import Runtime


class IterMask2(Method):
    """A first mask from the high frequencies, then shrinking, all slices of a volume at once."""

    build = staticmethod(networks_of)

    def infer(self, case: Prepared, model: Model, settings: IterMask2Settings, runtime: Runtime) -> Steps:
        if settings.threshold is None:
            raise UserError(
                f"Model {model.card.name} has no threshold yet; run itermask3d calibrate with it on healthy volumes, "
                "or give --threshold."
            )
        check_slices(case)
        given = Slices.of(case.channels[0], case.brain, case.spacing)
        first, masked = (runtime.runner(model.networks[name]) for name in (FIRST, MASKED))
        noise = seeded_noise(runtime.seed)
        return (yield from refine(given, first, masked, settings.threshold, settings, noise))

    training_task = staticmethod(IterMask2Task)
    convert = staticmethod(convert)
    calibrate = staticmethod(calibrate)
