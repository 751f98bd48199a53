"""Options of a command line from settings: what a settings record knows of its fields is all there is to say."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from IterMask3DLib.core.settings import About, about, default_of

_NONE = "none"


def add_settings(
    group: Any,
    record: Any,
    usual: Any = None,
    leave_out: Collection[str] = (),
    lengths: Mapping[str, int] | None = None,
    options: Mapping[str, str] | None = None,
) -> None:
    """Adds an option for each setting of a record; one that is not given is missing in what is parsed.

    Args:
        group: a parser or a group of its arguments.
        record: type of the settings.
        usual: a record whose values are shown as the defaults; None: those of the type.
        leave_out: settings without an option.
        lengths: of those that are whole numbers of no fixed length.
        options: names of the options of some settings, the others have none; None: each has its own name.
    """
    for name, (field, one) in about(record).items():
        option = name if options is None else options.get(name)
        if option is None or name in leave_out:
            continue
        one = replace(one, length=(lengths or {}).get(name, one.length))
        default = default_of(field) if usual is None else getattr(usual, name)
        shape = {"dest": option, "default": argparse.SUPPRESS, **_shape(one)}
        group.add_argument(flag(option), help=_help(one, default), **shape)
        if one.former:
            group.add_argument(flag(one.former), help=argparse.SUPPRESS, **shape)


def given_settings(parsed: argparse.Namespace, record: Any) -> dict[str, Any]:
    """The settings of a record that were given, by name."""
    return {name: getattr(parsed, name) for name in about(record) if hasattr(parsed, name)}


def found_among(words: Sequence[str], *names: str) -> dict[str, str]:
    """What the words of a command line say of some options, before they are parsed: what is wrong is said then."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in names:
        finder.add_argument(flag(name))
    with suppress(argparse.ArgumentError, SystemExit):
        found = vars(finder.parse_known_args(list(words))[0])
        return {name: value for name, value in found.items() if value is not None}
    return {}


def words_of(record: Any, usual: Any) -> list[str]:
    """The words of a command line that turn one settings record into another: only what differs."""
    words = []
    for name, (_, known) in about(record).items():
        value = getattr(record, name)
        if value == getattr(usual, name):
            continue
        if isinstance(value, bool):
            words.append(flag(name) if value else flag(name).replace("--", "--no-", 1))
        else:
            values = value if isinstance(value, tuple) else (_NONE if value is None else value,)
            values = (",".join(values),) if known.kind == "texts" else values
            words += [flag(name), *map(str, values)]
    return words


def flag(name: str) -> str:
    """The option of a setting."""
    return f"--{name.replace('_', '-')}"


def _shape(one: About) -> dict[str, Any]:
    if one.kind == "truth":
        return {"action": argparse.BooleanOptionalAction}
    if one.kind == "choice":
        return {"choices": one.choices}
    if one.kind == "texts":
        return {"type": _names, "metavar": "NAME[,NAME]"}
    if one.kind == "wholes":
        return {"type": int, "nargs": one.length or "+", "metavar": "N"}
    if one.kind == "numbers":
        return {"type": float, "nargs": one.length or "+", "metavar": "X"}
    kinds: dict[str, tuple[Callable[[str], Any], str]] = {
        "number": (float, "X"),
        "whole": (int, "N"),
        "text": (str, "TEXT"),
    }
    convert, metavar = kinds[one.kind]
    return {"type": _or_none(convert) if one.optional else convert, "metavar": metavar}


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _or_none(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def converted(text: str) -> Any:
        return None if text.lower() == _NONE else convert(text)

    converted.__name__ = f"{convert.__name__} or {_NONE}"
    return converted


def _help(one: About, default: Any) -> str:
    text = f"{one.help or one.label.lower()}{f', {one.unit}' if one.unit else ''}"
    notes = []
    if default is not None and default != "":
        notes.append(f"default: {_shown(default)}")
    if one.beyond_paper and one.published != default:
        notes.append(f"published: {_shown(one.published)}")
    return f"{text} ({'; '.join(notes)})".replace("%", "%%") if notes else text.replace("%", "%%")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(value) if isinstance(value[0], str) else " ".join(f"{each:g}" for each in value)
    return _NONE if value is None else f"{value:g}" if isinstance(value, float) else str(value)
