"""The words of a command line: usage, options, models, and what they import."""

from __future__ import annotations

from pathlib import Path

import pytest

from IterMask3DLib import cli
from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.settings import about
from IterMask3DLib.methods.registry import method_specs
from Testing.cli.command import run
from Testing.launcher import python

USAGE = [
    (),
    ("segment",),
    ("segment", "-o", "out"),
    ("segment", "a.nii", "-o", "out", "--gamma", "-1"),
    ("segment", "a.nii", "-o", "out", "--gamma", "nan"),
    ("segment", "a.nii", "-o", "out", "--start", "middle"),
    ("segment", "a.nii", "-o", "out", "--precision", "double"),
    ("segment", "a", "-o", "b", "--seed", "x"),
    ("segment", "a", "-o", "b", "--seed", "-1"),
    ("segment", "a", "b", "-o", "c", "--input", "T2w=d"),
    ("segment", "-o", "c", "--input", "T2w"),
    ("segment", "-o", "c", "--input", "T2w=d", "--input", "T2w=e"),
    ("segment", "a", "b", "-o", "c", "--brain-mask", "d"),
    ("evaluate",),
    ("models",),
    ("serve", "me"),
    ("nonsense",),
]


@pytest.mark.parametrize("arguments", USAGE)
def test_wrong_usage_leaves_with_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2


def test_every_setting_of_every_method_is_an_option(toy_methods: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("segment", "--help")
    told = capsys.readouterr().out
    assert len(method_specs()) > 3
    for spec in method_specs().values():
        assert f"settings of {spec.title}" in told
        assert all(f"--{name.replace('_', '-')} " in told for name in about(spec.Settings))


def test_models_are_listed_shown_and_verified(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "list", model) == 0
    assert {"t1w", "t1w-2mm", "t2w", "flair"} <= set(capsys.readouterr().out.split())
    assert run("models", "verify", model) == 0
    assert run("models", "show", model) == 0
    assert ModelCard.from_json(capsys.readouterr().out.split("right.\n")[1], "printed").name == "toy"


@pytest.mark.parametrize("words", ["--help", "segment --help", "models list", "models show"])
def test_what_prints_a_few_lines_imports_nothing_heavy(words: str) -> None:
    code = (
        "import sys\nfrom IterMask3DLib.cli import main\n"
        f"try: code = main({words.split()!r})\nexcept SystemExit as left: code = left.code\n"
        "heavy = {'torch', 'openvino', 'matplotlib', 'scipy', 'SimpleITK', 'nibabel', 'pandas'}\n"
        # The settings of a run know volumes; what lists models, or commands, does not.
        f"heavy = (heavy | {set() if 'segment' in words else {'numpy'}!r}) & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("broken", ["training.cli", "training.calibrate_cli", "evaluation.cli"])
def test_a_broken_package_breaks_its_own_command_alone(broken: str) -> None:
    command = {"training.cli": "train", "training.calibrate_cli": "calibrate", "evaluation.cli": "evaluate"}[broken]
    begin = f"import sys\nsys.modules['IterMask3DLib.{broken}'] = None\nfrom IterMask3DLib.cli import main\n"
    for words, code in ((["models", "list"], 0), ([command, "x"], 1)):
        done = python(f"{begin}sys.exit(main({words!r}))")
        assert done.returncode == code, done.stderr
        assert done.stderr.count("\n") == code and "Traceback" not in done.stderr
