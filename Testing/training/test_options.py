"""What a YAML file and the command line may say, and how wrong values are refused."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

import pytest

from IterMask3DLib import cli
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.training import run
from IterMask3DLib.training.recipe import OPTIONS, Recipe, published, recipe_of
from IterMask3DLib.training.run import Order, command_of


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """Orders that the command line would have carried out."""
    orders: list[Order] = []

    def note(order: Order) -> Any:
        orders.append(order)
        return argparse.Namespace(name="noted", gamma=0.1, sha256="")

    monkeypatch.setattr(run, "train", note)
    return orders


def test_a_yaml_file_sets_options_and_the_line_wins(ordered: list[Order], tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("steps: 500\nwidths: [4, 8, 8, 16, 16]\nlearning_rate: 1e-3\nabout:\n  licence: CC0\n", encoding="utf-8")
    assert cli.main(["train", "data", "-o", "run", "--config", str(file), "--steps", "9", "--ema", "0.99"]) == 0
    recipe = ordered[0].recipe
    assert (recipe.steps, recipe.widths, recipe.learning_rate, recipe.ema) == (9, (4, 8, 8, 16, 16), 0.001, 0.99)
    assert recipe.about == {"licence": "CC0"} and recipe.seed == Recipe().seed


def test_epochs_on_the_line_replace_the_steps_of_the_file(ordered: list[Order], tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("steps: 500\nbatch: 3\n", encoding="utf-8")
    assert cli.main(["train", "data", "-o", "run", "--config", str(file), "--epochs", "4"]) == 0
    # Four visits of ten volumes by threes.
    assert ordered[0].recipe.total_steps(10) == 14


def test_the_published_preset_is_the_paper() -> None:
    recipe = recipe_of({"preset": "published"}, "test")
    assert recipe == published()
    assert (recipe.spacing, recipe.shape, recipe.widths) == (1.0, (192, 192, 192), (16, 32, 64, 128, 256))
    assert (recipe.batch, recipe.epochs, recipe.steps, recipe.dropout) == (2, 500, None, 0.2)
    assert (recipe.learning_rate, recipe.final_learning_rate, recipe.schedule) == (1e-3, 1e-4, "published")
    assert (recipe.full_brain_share, recipe.scattered_share, recipe.ema) == (0, 0, 0)
    assert (recipe.loss_region, recipe.augmentation, recipe.packed) == ("volume", "published", "last")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stepz": 3}, "stepz is not an option"),
        ({"steps": "many"}, "steps is 'many'; it must be a whole number"),
        ({"steps": 0}, "at least 1"),
        ({"steps": True}, "must be a whole number"),
        ({"steps": 3, "epochs": 2}, "steps or epochs, not both"),
        ({"steps": None}, "give steps or epochs"),
        ({"shape": [80, 96, 81]}, "multiples of 16"),
        ({"widths": [8, 4, 8, 8, 8]}, "never get smaller"),
        ({"widths": 8}, "5 positive whole numbers"),
        ({"full_brain_share": 1.5}, "between 0 and 1"),
        ({"full_brain_share": 0.7, "scattered_share": 0.7}, "more than 1"),
        ({"ema": 1.0}, "below 1"),
        ({"augmentation": "heavy"}, "use one of none, published, light"),
        ({"preset": "mine"}, "use one of default, published"),
        ({"about": "IXI"}, "texts by name"),
        ({"name": 3}, "must be a text"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence_that_names_it(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as refused:
        recipe_of(given, "recipe.yaml")
    assert str(refused.value).startswith("recipe.yaml: ") and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"), [("steps: [", "cannot be read as YAML"), ("- steps", "options by name"), ("3: 4", "options by name")]
)
def test_a_file_that_is_no_recipe_is_one_error_line(text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text, encoding="utf-8")
    assert cli.main(["train", str(tmp_path), "-o", str(tmp_path / "run"), "--config", str(file)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and told in error and "recipe.yaml" in error


def test_the_command_on_the_card_gives_the_same_recipe_again(ordered: list[Order], tmp_path: Path) -> None:
    recipe = recipe_of({"preset": "published", "epochs": 3, "shape": [64, 64, 64], "scattered_share": 0.25, "name": "two words"}, "test")
    words = shlex.split(command_of(Order(tmp_path / "data", tmp_path / "run", recipe, "published")))
    assert words[:5] == ["itermask3d", "train", "data", "-o", "run"]
    assert cli.main(words[1:]) == 0
    assert ordered[0].recipe == recipe


def test_every_option_is_on_the_command_line_with_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    text = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in text and option.metadata["help"] for name, option in OPTIONS.items())


def test_a_missing_lightning_is_one_sentence_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    from Testing.training.toys import flat_cohort

    monkeypatch.setitem(sys.modules, "lightning.fabric", None)
    assert cli.main(["train", str(flat_cohort(tmp_path / "data", 2)), "-o", str(tmp_path / "run"), "--device", "cpu"]) == 1
    assert capsys.readouterr().err == "error: Training needs Lightning: pip install itermask3d[train].\n"
