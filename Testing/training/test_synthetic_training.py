"""A training on synthetic scans is repeatable and does what its options say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from IterMask3DLib import cli
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.itermask3d.training import ReconstructionTask
from IterMask3DLib.training.run import train
from Testing.training.toys import flat_cohort, interrupted, request, same, weights

SYNTHETIC: Mapping[str, Any] = {
    "augmentation": "synthetic",
    "contrasts": ("T1w=0.5", "FLAIR=0.3", "T2w=0.2"),
    "anomaly_weight": 2.0,
    "gradient_limit": 1.0,
    "batch_norm_momentum": 0.03,
    "batch_norm_steps": 3,
    "ema": 0.9,
    "weights": "last",
    "choose_gamma": False,
    "schedule": "constant",
}


def two_cohorts(folder: Path) -> tuple[Path, ...]:
    return flat_cohort(folder / "one", 3), flat_cohort(folder / "two", 2)


def test_the_command_trains_on_synthetic_scans_of_two_cohorts(tmp_path: Path) -> None:
    table = tmp_path / "split.tsv"
    table.write_text("participant_id\tsplit\nc0\ttrain\nc1\tval\nc2\ttest\n", encoding="utf-8")
    one, two = two_cohorts(tmp_path)
    line = f"train {one} {two} -o {tmp_path / 'run'} --split {table} --device cpu --workers 1 --spacing 4 --steps 4 "
    line += "--widths 2 2 4 4 4 --precision fp32 --augmentation synthetic --contrasts T1w=0.5,FLAIR=0.5 "
    line += "--anomaly-weight 2 --gradient-limit 1 --batch-norm-momentum 0.03 --batch-norm-steps 2 --no-choose-gamma"
    assert cli.main(line.split()) == 0
    card = json.loads((tmp_path / "run" / "model" / "card.json").read_text(encoding="utf-8"))
    training = card["training"]
    assert (training["volumes"], training["validation volumes"]) == (2, 2)
    assert training["command"].startswith("itermask3d train one two -o run --split split.tsv ")
    recipe = training["recipe"]
    assert recipe["augmentation"]["contrasts"] == {"T1w": 0.5, "FLAIR": 0.5}
    assert recipe["augmentation"]["anomalies"]["counts"] and recipe["augmentation"]["scanners"]["noise"] == [0.01, 0.12]
    assert (recipe["anomaly_weight"], recipe["batch_norm_steps"], recipe["gradient_limit"]) == (2.0, 2, 1.0)
    assert "gamma" not in card["settings"]


def test_an_interrupted_training_on_synthetic_scans_goes_on_bit_for_bit(tmp_path: Path) -> None:
    data = two_cohorts(tmp_path)

    def wanted(name: str) -> Any:
        return replace(request(data[0], tmp_path / name, **SYNTHETIC), data=data)

    train(wanted("whole"))
    with interrupted(6), pytest.raises(UserError, match="interrupted"):
        train(wanted("parts"))
    train(wanted("parts"))
    assert same(tmp_path / "parts", tmp_path / "whole")
    # After three steps the statistics of batch norm stay as they are.
    train(replace(wanted("short"), options=replace(wanted("short").options, steps=3)))
    late, early = weights(tmp_path / "whole"), weights(tmp_path / "short")
    statistics = [name for name in late if name.endswith("running_mean") and not name.startswith("average")]
    assert statistics and all(torch.equal(late[name], early[name]) for name in statistics)
    assert all(int(late[name]) == 3 for name in late if name.endswith("num_batches_tracked"))


def test_a_gradient_is_scaled_down_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []

    def descend(self: ReconstructionTask, stage: str, networks: Mapping[str, torch.nn.Module], rate: float) -> Any:
        network = networks[stage]
        optimiser = torch.optim.SGD(network.parameters(), lr=rate)
        total = lambda *_: norms.append(float(torch.stack([p.grad.norm() for p in network.parameters()]).norm()))  # noqa: E731
        optimiser.register_step_pre_hook(total)
        return optimiser

    monkeypatch.setattr(ReconstructionTask, "optimiser", descend)
    data = flat_cohort(tmp_path / "data", 3)
    train(request(data, tmp_path / "free", steps=3))
    assert min(norms) > 1e-2
    norms.clear()
    train(request(data, tmp_path / "limited", steps=3, gradient_limit=1e-2))
    assert norms == pytest.approx([1e-2] * 3, rel=1e-3)


def test_what_synthetic_scans_cannot_be_made_from_is_refused(tmp_path: Path) -> None:
    data = flat_cohort(tmp_path / "data", 3)
    with pytest.raises(UserError, match="made from T1w"):
        request(data, tmp_path / "run", augmentation="synthetic", modality="FLAIR")
    with pytest.raises(UserError, match="validated with real volumes"):
        train(request(data, tmp_path / "run", augmentation="synthetic", validation_share=0.0))
