"""Shipped files are found beside the package and inside it, and a missing one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from IterMask3DLib.core import resources
from IterMask3DLib.core.errors import UserError


@pytest.mark.parametrize("root", ["Resources", "IterMask3DLib/_resources"])
def test_a_shipped_file_is_found_in_a_checkout_and_in_a_wheel(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / root / "Models" / "card.json"
    shipped.parent.mkdir(parents=True)
    shipped.touch()
    monkeypatch.setattr(resources, "_LIBRARY", tmp_path / "IterMask3DLib")
    assert resources.resource("Models", "card.json") == shipped


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match="Models/nowhere is missing"):
        resources.resource("Models", "nowhere")


def test_the_bundled_brain_is_there() -> None:
    assert resources.sample_volume().is_file()
