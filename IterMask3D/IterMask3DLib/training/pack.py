"""From a training checkpoint to a model folder, with gamma chosen on healthy validation volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from IterMask3DLib.engine.card import Card, CardGrid
from IterMask3DLib.engine.device import Runner, choose_place
from IterMask3DLib.engine.execution import InferenceUNet
from IterMask3DLib.engine.highfreq import high_frequency
from IterMask3DLib.engine.intensity import zscore_clip3
from IterMask3DLib.engine.models import save_model
from IterMask3DLib.engine.network import UNet3D
from IterMask3DLib.engine.threshold import CurveSettings, fit_curve
from IterMask3DLib.methods.itermask3d import Case, Settings, result_of, shrink, sweep
from IterMask3DLib.training.data import load_stripped

GAMMAS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
HEALTHY_LIMIT = 0.02
"""Share of a healthy brain that may stay masked on average."""


def pack(checkpoint: Path, healthy: Sequence[Path], out: Path, describe: Mapping[str, Any]) -> Card:
    """Writes the model folder `out`; its gamma is the smallest that leaves on average at most 2 % of `healthy` brains masked.

    `describe`: name, title, modality and training of the card.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    trained = state["settings"]
    network = UNet3D(trained["widths"], trained["dropout"])
    network.load_state_dict(state["network"])
    network.eval()
    spacing, shape = trained["spacing"], tuple(trained["shape"])
    masked = healthy_shares(network, healthy, spacing, shape)
    gamma = next((g for g, shares in masked.items() if np.mean(shares) <= HEALTHY_LIMIT), GAMMAS[-1])
    figures = {f"gamma {g:g}": {"mean": round(float(np.mean(s)), 4), "worst": round(max(s), 4)} for g, s in masked.items()}
    card = Card(
        name=describe["name"],
        title=describe["title"],
        modality=describe["modality"],
        grid=CardGrid(spacing, shape),
        widths=tuple(trained["widths"]),
        dropout=trained["dropout"],
        gamma=gamma,
        options={key: trained[key] for key in ("full_brain_share", "augmentation", "bfloat16", "learning_rate", "final_learning_rate")},
        training={**describe["training"], "steps": state["step"], "batch": trained["batch"], "seed": trained["seed"]},
        figures={
            "command": describe["training"]["command"],
            "share of healthy validation brains left masked": figures,
            "volumes": len(healthy),
            "chosen gamma": gamma,
        },
        created=datetime.now(timezone.utc).date().isoformat(),
    )
    return save_model(out, network, card)


def healthy_shares(network: UNet3D, healthy: Sequence[Path], spacing: float, shape: Sequence[int]) -> dict[float, list[float]]:
    """For each gamma, the share of each healthy brain that stays masked; one sweep a volume serves every gamma."""
    runner = Runner(InferenceUNet(network), choose_place("auto"))
    masked: dict[float, list[float]] = {gamma: [] for gamma in GAMMAS}
    for path in healthy:
        raw = load_stripped(path, shape)
        brain = raw > 0
        volume = zscore_clip3(raw, brain).array
        case = Case(volume, high_frequency(volume, (spacing,) * 3), brain)
        swept = result_of(sweep(case, runner, Settings()))
        for gamma in GAMMAS:
            curve, _ = fit_curve(swept.thresholds, CurveSettings(gamma=gamma))
            result = result_of(shrink(case, runner, curve, Settings(), brain, first=Settings().passes + 1))
            masked[gamma].append(result.mask_size / int(brain.sum()))
    return masked
