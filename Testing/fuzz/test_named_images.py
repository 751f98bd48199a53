"""Volumes that no scanner makes, given to `segment`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from Testing.fuzz.contract import contents, held, nothing_lost, told
from Testing.fuzz.images import IMAGES
from Testing.fuzz.rounds import SECONDS

QUICK = ("--backend", "pytorch", "--sweep-passes", 2, "--max-shrink", 1)
REAL_STRIPPING = {"head in negative numbers", *(["head", "head in tiny numbers"] if SECONDS else [])}
"""Where the built-in skull stripping, which takes seconds, is what is asked about."""


@pytest.mark.parametrize("name", IMAGES)
def test_segment_meets_every_volume(name: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name not in REAL_STRIPPING:
        bright = "IterMask3DLib.preprocessing.skull_stripping.strip_head"
        monkeypatch.setattr(bright, lambda image: image.array > np.median(image.array))
    (tmp_path / "mine").mkdir()
    path = IMAGES[name](tmp_path / "mine")
    before = contents(tmp_path / "mine")
    ended = held(told("segment", path, "-o", tmp_path / "out", "--model", model, *QUICK))
    nothing_lost(before, tmp_path / "mine")
    assert ended.code == 0 or not list(tmp_path.glob("out/*/*"))
    if name in REAL_STRIPPING:
        assert ended.code == 0, ended.err
