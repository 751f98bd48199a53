"""Settings check themselves: every kind, its limits, and the sentence for what is not allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.settings import about, as_published, changed, check_counted, default_of, idle, setting


@dataclass(frozen=True)
class Everything:
    """One setting of each kind."""

    number: float = setting("number", 0.5, "Number", "of something", unit="mm", least=0, most=10, published=1.0)
    whole: int = setting("whole", 3, "Whole", least=1, most=100)
    truth: bool = setting("truth", False, "Truth", published=False)
    choice: str = setting("choice", "a", "Choice", choices=("a", "b"))
    text: str = setting("text", "", "Text")
    texts: tuple[str, ...] = setting("texts", ("T1w",), "Texts")
    wholes: tuple[int, ...] = setting("wholes", (1, 2), "Wholes", length=2, most=1024)
    any_wholes: tuple[int, ...] = setting("wholes", (1,), "Any wholes", most=9)
    optional: float | None = setting("number", None, "Optional", optional=True, least=0, published=None)
    numbers: tuple[float, ...] = setting("numbers", (1.0, 2.5), "Numbers", least=0, length=2)
    only_b: float = setting("number", 1.0, "Only with b", when=("choice", "b"))
    derived: int = 7


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("number", 2, 2.0),
        ("number", "1e-3", 0.001),
        ("number", 10, 10.0),
        ("whole", 1, 1),
        ("truth", True, True),
        ("choice", "b", "b"),
        ("text", "a b", "a b"),
        ("texts", ["T1w", "FLAIR"], ("T1w", "FLAIR")),
        ("texts", "FLAIR", ("FLAIR",)),
        ("wholes", [80, 96], (80, 96)),
        ("any_wholes", (1, 2, 3), (1, 2, 3)),
        ("optional", None, None),
        ("numbers", [0, 1.5], (0.0, 1.5)),
        ("optional", 3, 3.0),
    ],
)
def test_a_value_that_is_allowed_becomes_one_of_its_kind(name: str, given: Any, value: Any) -> None:
    found = getattr(changed(Everything(), {name: given}, "recipe"), name)
    assert found == value and type(found) is type(value)


NO_NUMBER = [None, True, "x", "nan", "inf", [1], {}, float("nan"), float("inf"), -float("inf"), 10**400]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *(("number", value) for value in NO_NUMBER),
        *(("whole", value) for value in (*NO_NUMBER, 1.0, "1")),
        *(("truth", value) for value in (0, 1, "yes", None)),
        *(("choice", value) for value in ("c", None, 1, ["a"], {})),
        *(("text", value) for value in (None, 1, ["a"])),
        *(("texts", value) for value in ([], [""], ["a", "a"], [1], None, {"a": 1})),
        *(("wholes", value) for value in ([1], [1, 2, 3], [1, 0], [1, 2.0], [True, 1], "12", None, [1, 1025])),
        *(("any_wholes", value) for value in ([], [10], None)),
        ("optional", "x"),
        *(("numbers", value) for value in ([], [1], [1, 2, 3], [1, -1], [1, None], "1 2", None, 3, [1, float("nan")])),
    ],
)
def test_a_value_of_another_kind_is_refused_in_one_sentence(name: str, given: Any) -> None:
    with pytest.raises(UserError, match=f"^recipe: {name} is ") as error:
        changed(Everything(), {name: given}, "recipe")
    assert len(str(error.value)) < 200 and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("number", -0.1, "number is -0.1; it must be at least 0 and at most 10"),
        ("number", 10.5, "at least 0 and at most 10"),
        ("whole", 0, "whole is 0; it must be at least 1 and at most 100"),
        ("optional", -1, "optional is -1; it must be at least 0"),
        ("choice", "c", "use one of a, b"),
        ("wholes", [1], "2 positive whole numbers"),
    ],
)
def test_a_value_beyond_its_limits_is_told_with_them(name: str, given: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        changed(Everything(), {name: given}, "recipe")


@pytest.mark.parametrize("name", ["unknown", "derived", "__class__"])
def test_only_settings_can_be_set(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is not a setting; known are number, whole"):
        changed(Everything(), {name: 1}, "recipe")


def test_a_value_of_any_length_makes_a_short_sentence() -> None:
    with pytest.raises(UserError) as error:
        changed(Everything(), {"text": ["x" * 10_000]}, "recipe")
    assert len(str(error.value)) < 200


def test_what_goes_beyond_the_paper_can_be_left_out() -> None:
    found = as_published(Everything(number=3.0, whole=9, truth=True, optional=2.0))
    assert found == Everything(number=1.0, whole=9, truth=False, optional=None)


def test_a_setting_is_known_with_everything_a_door_needs() -> None:
    known = about(Everything)
    assert list(known) == [name for name in Everything.__dataclass_fields__ if name != "derived"]
    field, number = known["number"]
    assert (number.label, number.help, number.unit, default_of(field)) == ("Number", "of something", "mm", 0.5)
    assert number.beyond_paper and not known["whole"][1].beyond_paper and known["optional"][1].beyond_paper


@pytest.mark.parametrize(
    "choices",
    [
        {"device": "tpu"},
        {"precision": "double"},
        {"backend": "onnx"},
        {"quality": "best"},
        {"skull_stripping": "bet"},
        {"seed": -1},
        {"seed": 2**31},
        {"seed": 1.5},
        {"save_iterations": "yes"},
        {"model": 7},
    ],
)
def test_a_request_with_an_impossible_choice_is_refused(choices: dict[str, Any]) -> None:
    assert Request().check() == Request()
    with pytest.raises(UserError, match=f"^request: {next(iter(choices))} is "):
        Request(**choices).check()


def test_a_setting_that_has_no_effect_is_refused_with_what_it_needs() -> None:
    assert idle(Everything()) == {"only_b": ("choice", "b")} and idle(Everything(choice="b")) == {}
    check_counted(Everything(), {"number": 1}, "recipe")
    check_counted(Everything(choice="b"), {"only_b": 1}, "recipe")
    with pytest.raises(UserError, match="recipe: only_b has no effect with choice a; leave it out, or choose choice b"):
        check_counted(Everything(), {"only_b": 1}, "recipe")
