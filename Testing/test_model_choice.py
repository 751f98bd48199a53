"""Which model a case is for, where the user names none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from IterMask3DLib.batch import cases_of
from IterMask3DLib.cli.model_choice import by_model
from IterMask3DLib.models import catalogue
from IterMask3DLib.models.catalogue import DEFAULT_MODEL, find_model, model_for
from Testing.brains import toy_model


@pytest.fixture
def flair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model for FLAIR that is bundled beside the default one."""
    monkeypatch.setattr(catalogue, "resource", lambda name: tmp_path / name)
    folder = tmp_path / "Models" / "flair"
    for name in (DEFAULT_MODEL, folder.name):
        toy_model(folder.with_name(name))
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    (folder / "card.json").write_text(json.dumps({**card, "inputs": ["FLAIR"]}), encoding="utf-8")
    return folder


def test_each_case_gets_the_model_of_what_it_is_said_to_be(flair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["sub-1_FLAIR", "sub-2_FLAIR", "sub-1_T1w", "scan", "sub-1_dwi_T2star"]
    cases = cases_of([f"{name}.nii.gz" for name in names])
    found = by_model(cases)
    default = find_model(None)
    assert found == {flair: cases[:2], default: cases[2:]}
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "2 cases: model flair, for FLAIR as the name says (--model takes another)",
        f"sub-1_T1w: model {default.name}, for T1w as the name says (--model takes another)",
        f"2 cases: model {default.name}, the default, because neither name nor header says what it is (--model takes "
        "another)",
    ]


def test_without_a_model_for_it_the_default_is_taken_and_that_is_said(
    flair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(by_model(cases_of(["sub-1_T2w.nii.gz"]))) == {find_model(None)}
    assert "the default, because no model is for T2w" in capsys.readouterr().err


def test_a_damaged_model_is_not_chosen(flair: Path) -> None:
    assert model_for("FLAIR") is not None
    (flair / "model.safetensors").write_bytes(b"damaged")
    assert model_for("FLAIR") is None
