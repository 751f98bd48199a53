"""Settings as data: each field of a settings record says what it is called, what it may be, and what the paper has.

The options of the command line, the fields of the panel, the checks of a card and of a recipe all follow from them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, TypeVar

from IterMask3DLib.core.errors import UserError

Record = TypeVar("Record")
_UNSET: Any = object()
_LARGEST = 1e12


@dataclass(frozen=True)
class About:
    """What is known of one setting.

    Attributes:
        kind: number, whole, truth, choice, text, texts (one or more different ones), numbers or wholes (positive ones).
        label: what a user reads beside it; help: one phrase; unit: of a number.
        least, most: limits, both allowed.
        choices: what a choice may be.
        length: of numbers and wholes; 0: any.
        optional: whether it may be None.
        published: the value of the paper, for settings that go beyond it.
        advanced: whether a panel shows it among the advanced ones.
        former: an earlier name, which keeps working where names are given.
        when: another setting and the value it must have for this one to count; None: it always counts.
    """

    kind: str
    label: str
    help: str = ""
    unit: str = ""
    least: float = -_LARGEST
    most: float = _LARGEST
    choices: tuple[str, ...] = ()
    length: int = 0
    optional: bool = False
    published: Any = _UNSET
    advanced: bool = True
    former: str = ""
    when: tuple[str, str] | None = None

    @property
    def beyond_paper(self) -> bool:
        return self.published is not _UNSET


def setting(kind: str, default: Any, label: str, help: str = "", **more: Any) -> Any:
    """A field of a settings record; `more`: the other attributes of `About`."""
    return field(default=default, metadata={"about": About(kind, label, help, **more)})


def like(record: Any, name: str, **changes: Any) -> Any:
    """A field that is a setting of another record too; `changes`: its `default`, and attributes of its `About`."""
    one, known = about(record)[name]
    default = changes.pop("default", default_of(one))
    return field(default=default, metadata={"about": replace(known, **changes)})


def about(record: Any) -> dict[str, tuple[Field[Any], About]]:
    """The settings of a record type, by name: the field and what is known of it."""
    return {each.name: (each, each.metadata["about"]) for each in fields(record) if "about" in each.metadata}


def default_of(one: Field[Any]) -> Any:
    """The value a setting has where nobody says another."""
    return None if one.default is MISSING else one.default


def changed(record: Record, given: Mapping[str, Any], where: str) -> Record:
    """A settings record with other values, checked.

    Args:
        record: the record that is to be changed.
        given: values by name.
        where: names the source of the values in the error.

    Raises:
        UserError: for a name that is no setting, or a value that is not allowed.
    """
    known = about(record)
    for name in given:
        if name not in known:
            raise UserError(f"{where}: {name} is not a setting; known are {', '.join(known)}.")
    values: dict[str, Any] = {name: checked(name, value, known[name][1], where) for name, value in given.items()}
    return replace(record, **values)  # type: ignore[type-var]


def as_published(record: Record) -> Record:
    """A settings record with everything that goes beyond the paper left out."""
    values = {name: one.published for name, (_, one) in about(record).items() if one.beyond_paper}
    return replace(record, **values)  # type: ignore[type-var]


def idle(record: Any) -> dict[str, tuple[str, str]]:
    """The settings of a record that do not count, as others are now: what each would need."""
    needed = {name: one.when for name, (_, one) in about(record).items() if one.when is not None}
    return {name: when for name, when in needed.items() if getattr(record, when[0]) != when[1]}


def check_counted(record: Any, given: Collection[str], where: str) -> None:
    """Raises `UserError` where a setting was given that does not count, as the others of the record are."""
    for name, (other, value) in idle(record).items():
        if name in given:
            now = getattr(record, other)
            raise UserError(
                f"{where}: {name} has no effect with {other} {now}; leave it out, or choose {other} {value}."
            )


def checked(name: str, value: Any, one: About, where: str) -> Any:
    """A value as the type of its setting. Raises `UserError`."""
    claim = f"{where}: {name} is {_short(value)}"
    if value is None and one.optional:
        return None
    if one.kind == "truth":
        return _truth(value, claim)
    if one.kind == "text":
        if isinstance(value, str) and _is_encodable(value):
            return value
        raise UserError(f"{claim}; it must be a text.")
    if one.kind == "choice":
        if isinstance(value, str) and value in one.choices:
            return value
        raise UserError(f"{claim}; use one of {', '.join(one.choices)}.")
    if one.kind == "texts":
        return _texts(value, claim)
    if one.kind == "wholes":
        return _wholes(value, one, claim)
    if one.kind == "numbers":
        return _numbers(value, one, claim)
    return _number(value, one, claim)


def _is_encodable(text: str) -> bool:
    """Whether a file could have this name: halves of letters that a recipe can spell have no bytes."""
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _truth(value: Any, claim: str) -> bool:
    if isinstance(value, bool):
        return value
    raise UserError(f"{claim}; it must be true or false.")


def _texts(value: Any, claim: str) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else value
    right = isinstance(texts, (list, tuple)) and 0 < len(texts) == len(set(map(str, texts)))
    if not right or not all(isinstance(v, str) and v for v in texts):
        raise UserError(f"{claim}; it must be one or more different names.")
    return tuple(texts)


def _wholes(value: Any, one: About, claim: str) -> tuple[int, ...]:
    right = isinstance(value, (list, tuple)) and 0 < len(value) == (one.length or len(value))
    if not right or not all(type(v) is int and 0 < v <= one.most for v in value):
        raise UserError(f"{claim}; it must be {one.length or 'some'} positive whole numbers.")
    return tuple(value)


def _numbers(value: Any, one: About, claim: str) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)) or not 0 < len(value) == (one.length or len(value)):
        raise UserError(f"{claim}; it must be {one.length or 'some'} numbers.")
    return tuple(float(_number(each, one, claim)) for each in value)


def _number(value: Any, one: About, claim: str) -> int | float:
    whole = one.kind == "whole"
    if isinstance(value, str) and not whole:
        # YAML 1.1 reads 1e-3, which has no point, as a text.
        with suppress(ValueError):
            value = float(value)
    right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not right or not abs(value) <= _LARGEST or not math.isfinite(value):
        raise UserError(f"{claim}; it must be a {'whole ' if whole else ''}number.")
    if not one.least <= value <= one.most:
        limits = [f"at least {one.least:g}"] if one.least > -_LARGEST else []
        limits += [f"at most {one.most:g}"] if one.most < _LARGEST else []
        raise UserError(f"{claim}; it must be {' and '.join(limits)}.")
    return int(value) if whole else float(value)


def _short(value: Any) -> str:
    # A whole number of thousands of digits cannot even be printed.
    try:
        text = repr(value)
    except ValueError:
        return "a number out of range"
    return text if len(text) <= 60 else f"{text[:57]}..."
