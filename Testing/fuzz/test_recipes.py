"""Recipes, tables and the rests of earlier runs, given to `train`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.training.cohort import find_cohort
from Testing.brains import phantom
from Testing.fuzz.changed import VALUES, changed
from Testing.fuzz.contract import contents, held, nothing_lost, told
from Testing.fuzz.rounds import rounds

RECIPES = {
    "list": b"- steps\n- 3\n",
    "text": b"steps\n",
    "number": b"3\n",
    "nothing": b"",
    "no YAML": b"steps: [3\n",
    "tab": b"\tsteps: 3\n",
    "not UTF-8": b"name: caf\xe9\n",
    "another byte order": "steps: 3\n".encode("utf-16"),
    "null bytes": b"steps: 3\0\n",
    "list where a value belongs": b"steps: [1, 2]\nlearning_rate: [1]\n",
    "object where a value belongs": b"steps: {a: 1}\n",
    "alias to a list": b"a: &a [1, 2]\nsteps: *a\n",
    "alias to itself": b"about: &a {data: *a}\n",
    "aliases that multiply": b"a: &a [x, x, x, x, x, x, x, x, x]\n"
    + b"".join(
        b"%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n" % (c + 1, c + 1, *[c] * 9) for c in range(97, 105)
    )
    + b"name: *i\n",
    "Python's objects": b"name: !!python/object/apply:os.system ['echo ran > ran.txt']\n",
    "dates": b"name: 2026-01-01\nsteps: 2026-01-01\n",
    "key that is a number": b"1: 2\n",
    "key that is a list": b"? [1]\n: 2\n",
    "key twice": b"steps: 3\nsteps: 4\n",
    "unknown": b"stepps: 3\n",
    "steps and epochs": b"steps: 3\nepochs: 3\n",
    "a number as a word": b"steps: three\n",
    "yes and no": b"steps: yes\nname: no\n",
    "infinite": b"learning_rate: .inf\n",
    "no number": b"learning_rate: .nan\nsteps: .nan\n",
    "huge": b"steps: 1" + b"0" * 400 + b"\n",
    "huger than Python prints": b"steps: 1" + b"0" * 5000 + b"\n",
    "negative": b"steps: -3\nbatch: -1\nseed: -1\n",
    "sides": b"shape: [0, -16, 17]\n",
    "many sides": b"shape: [16, 16, 16, 16]\n",
    "large sides": b"shape: [1024, 1024, 1024]\n",
    "widths": b"widths: [0, 0, 0, 0, 0]\n",
    "preset": b"preset: [default]\n",
    "unknown preset": b"preset: best\n",
    "method": b"method: [itermask3d]\n",
    "unknown method": b"method: none\n",
    "about": b"about: {data: [1]}\n",
    "about in many words": b"about: {data: '" + b"x" * 100000 + b"'}\n",
    "modality": b"modality: [T1w, T1w]\n",
    "many brackets": b"about: " + b"[" * 3000 + b"]" * 3000 + b"\n",
    "line breaks": b'name: "a\\nb\\e[31m"\ninitial: "x\\ny"\n',
    "initial model": b"initial: ../../../etc/passwd\n",
    "name": b"name: ''\ntitle: '<script>'\nmodality: ['../x']\n",
}


@pytest.mark.parametrize("name", RECIPES)
def test_train_meets_every_recipe(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_bytes(RECIPES[name])
    (tmp_path / "data").mkdir()
    before = contents(tmp_path)
    held(told("train", tmp_path / "data", "-o", tmp_path / "run", "--config", tmp_path / "recipe.yaml"), 1, 2)
    nothing_lost(before, tmp_path)
    assert not (tmp_path / "ran.txt").exists()


def test_recipes_with_other_values(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    recipe = {
        "steps": 3,
        "batch": 2,
        "learning_rate": 1e-3,
        "modality": ["T1w"],
        "shape": [16, 16, 16],
        "preset": "default",
        "widths": [2] * 5,
        "dropout": 0.1,
        "about": {"data": "x"},
        "seed": 1,
        "ema": 0.9,
        "augmentation": "light",
        "name": "toy",
        "spacing": 4,
        "weights": "last",
        "method": "itermask3d",
        "schedule": "cosine",
        "epochs": None,
    }

    def check(odd: Any) -> None:
        # JSON is YAML, but for letters outside of Unicode.
        (tmp_path / "recipe.yaml").write_bytes(json.dumps(odd).encode())
        held(told("train", tmp_path / "data", "-o", tmp_path / "run", "--config", tmp_path / "recipe.yaml"), 1, 2)

    rounds(check, odd=changed(recipe))


def cohort(folder: Path) -> Path:
    for number in range(3):
        path = folder / f"sub-{number}" / "anat" / f"sub-{number}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        array, affine = phantom((20, 24, 20), 8.0)
        write_nifti(array + (array > 0) * np.int16(number), affine, path)
    return folder


TABLES = {
    "not UTF-8": b"participant_id\tsplit\nsub-0\ttr\xe4in\n",
    "another byte order": "participant_id\tsplit\nsub-0\ttrain\n".encode("utf-16"),
    "zeros": bytes(300),
    "empty": b"",
    "header alone": b"participant_id\tsplit\n",
    "commas": b"participant_id,split\nsub-0,train\n",
    "short rows": b"participant_id\tsplit\nsub-0\n\n\t\n",
    "long rows": b"participant_id\tsplit\nsub-0\ttrain\tmore\teven more\n",
    "a huge cell": b"participant_id\tsplit\nsub-0\t" + b"x" * 300000 + b"\n",
    "an open quotation": b'participant_id\tsplit\n"sub-0\ttrain\n',
    "nobody to train on": b"participant_id\tsplit\nsub-0\ttest\n",
    "column twice": b"participant_id\tsplit\tsplit\nsub-0\ttrain\tval\n",
    "mark of UTF-8": b"\xef\xbb\xbfparticipant_id\tsplit\r\nsub-0\ttrain\r\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_cohort_meets_every_table(name: str, tmp_path: Path) -> None:
    data = cohort(tmp_path / "data")
    (data / "participants.tsv").write_bytes(TABLES[name])
    before = contents(tmp_path)
    # Where the table can be used, a batch that nobody can share ends it.
    held(told("train", data, "-o", tmp_path / "run", "--initial", "none"), 1)
    nothing_lost(before, tmp_path)
    try:
        find_cohort(data, ("T1w",), 0.3, 0)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 400


def test_tables_of_other_bytes(tmp_path: Path) -> None:
    data = cohort(tmp_path / "data")

    def check(odd: bytes) -> None:
        (data / "participants.tsv").write_bytes(odd)
        try:
            find_cohort(data, ("T1w",), 0.3, 0)
        except UserError as error:
            assert "\n" not in str(error)

    pieces = st.sampled_from(
        [b"participant_id", b"split", b"\t", b"\n", b"\r", b"sub-0", b"train", b'"', b"\0", b"\xff", b","]
    )
    rounds(check, 60, odd=st.one_of(st.binary(max_size=60), st.lists(pieces, max_size=20).map(b"".join)))


TINY = (
    "--steps",
    2,
    "--batch",
    1,
    "--spacing",
    8,
    "--shape",
    48,
    48,
    48,
    "--widths",
    2,
    2,
    2,
    2,
    2,
    "--workers",
    1,
    "--augmentation",
    "none",
)
TINY += ("--validate-every", 1, "--checkpoint-every", 1, "--log-every", 1, "--device", "cpu", "--validation-share", 0.4)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small training that has ended."""
    folder = tmp_path_factory.mktemp("begun")
    assert held(told("train", cohort(folder / "data"), "-o", folder / "run", *TINY)).code == 0
    return folder


def _damage(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        for path in run.glob(name):
            path.write_bytes(change(path.read_bytes()))

    return damage


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "checkpoint, cut": _damage("checkpoint.pt", _cut),
    "checkpoint, empty": _damage("checkpoint.pt", lambda data: b""),
    "checkpoint of noise": _damage("checkpoint.pt", lambda data: b"\x80\x02" + data[2:][::-1]),
    "checkpoint that is a folder": lambda run: ((run / "checkpoint.pt").unlink(), (run / "checkpoint.pt").mkdir()),
    "checkpoint gone": lambda run: (run / "checkpoint.pt").unlink(),
    "best weights, cut": _damage("best.pt", _cut),
    "cache, cut": _damage("cache/*.npy", _cut),
    "cache, empty": _damage("cache/*.npy", lambda data: b""),
    "cache of noise": _damage("cache/*.npy", lambda data: bytes(len(data))),
    "cache of pickles": _damage("cache/*.npy", lambda data: b"\x80\x04N."),
    "losses that are no text": _damage("losses.csv", lambda data: b"\xff\xfe\0" * 99),
    "losses with an open quotation": _damage("losses.csv", lambda data: data + b'"3,'),
    "losses of one huge cell": _damage("losses.csv", lambda data: data + b"9" * 300000 + b",1,1,1,1\n"),
    "losses that are a folder": lambda run: ((run / "losses.csv").unlink(), (run / "losses.csv").mkdir()),
    "validation, empty": _damage("validation.csv", lambda data: b""),
    "model gone": lambda run: shutil.rmtree(run / "model"),
    "model that is a file": lambda run: (shutil.rmtree(run / "model"), (run / "model").write_text("x")),
    "cache that is a file": lambda run: (shutil.rmtree(run / "cache"), (run / "cache").write_text("x")),
    "pictures that are a file": lambda run: (shutil.rmtree(run / "pictures"), (run / "pictures").write_text("x")),
    "TensorBoard that is a file": lambda run: (
        shutil.rmtree(run / "tensorboard"),
        (run / "tensorboard").write_text("x"),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_training_goes_on_after_every_damage_or_says_why_not(name: str, begun: Path, tmp_path: Path) -> None:
    shutil.copytree(begun, tmp_path / "all")
    run = tmp_path / "all" / "run"
    DAMAGES[name](run)
    before = contents(tmp_path / "all" / "data")
    held(told("train", tmp_path / "all" / "data", "-o", run, *TINY, "--steps", 3))
    nothing_lost(before, tmp_path / "all" / "data")


def test_a_grid_that_is_too_small_for_a_network_is_told(begun: Path, tmp_path: Path) -> None:
    ended = held(told("train", begun / "data", "-o", tmp_path / "run", *TINY, "--shape", 16, 16, 16), 1)
    assert "too few for the network" in ended.err


@pytest.mark.parametrize("call", ["torch.save", "numpy.save", "os.replace"])
def test_a_disk_that_is_full_ends_a_training_in_a_sentence(
    call: str, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(begun / "data", tmp_path / "data")

    def full(*given: Any, **named: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(call, full)
    ended = held(told("train", tmp_path / "data", "-o", tmp_path / "run", *TINY), 1)
    assert "No space left" in ended.err


def test_a_text_that_no_file_can_be_called_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ended = held(told("train", tmp_path / "data", "-o", tmp_path / "run", "--initial", "é\ud800"), 1)
    assert "initial is 'é\\ud800'; it must be a text" in ended.err


def test_other_values_of_single_options(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    names = [
        "steps",
        "batch",
        "seed",
        "shape",
        "widths",
        "modality",
        "spacing",
        "ema",
        "workers",
        "initial",
        "config",
        "preset",
    ]

    def check(option: str, value: Any) -> None:
        words = value if isinstance(value, list) else [value]
        held(told("train", tmp_path / "data", "-o", tmp_path / "run", f"--{option}", *words))

    rounds(check, option=st.sampled_from(names), value=VALUES.filter(is_typed))


def is_typed(value: Any) -> bool:
    """Whether a shell can hand it over: words have bytes, and none of them is 0."""
    try:
        return "\0" not in os.fsencode(str(value)).decode("latin-1")
    except UnicodeEncodeError:
        return False
