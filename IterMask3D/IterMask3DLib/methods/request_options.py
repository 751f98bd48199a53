"""The choices of a run as options of a command line: those of every run, and those of each method.

Methods share the option of a setting that they have under one name and of one kind; each keeps its own limits. Where
the kinds differ, the methods after the first have `--METHOD-SETTING`.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.options import add_settings, given_settings
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.settings import About, about, checked
from IterMask3DLib.methods.base import MethodSpec
from IterMask3DLib.methods.registry import method_specs


def add_request_options(parser: argparse.ArgumentParser, leave_out: Collection[str] = ()) -> None:
    """Adds an option for each field of `Request` and for each setting of every method.

    Args:
        leave_out: names that are other options of the parser.
    """
    add_settings(parser, Request, leave_out=leave_out)
    taken: set[str] = set()
    for spec, options in _options({*about(Request), *leave_out}):
        group = parser.add_argument_group(f"settings of {spec.title} (default: the model's)")
        add_settings(group, spec.Settings, options={options[each]: each for each in options if each not in taken})
        taken |= set(options)
    parser.set_defaults(refuse=parser.error)


def request_from(parsed: argparse.Namespace, where: str, leave_out: Collection[str] = ()) -> Request:
    """The request of a parsed command line; a value out of range of every method is a usage error.

    Args:
        where: the command, for the error.
        leave_out: as of `add_request_options`.
    """
    chosen = {name: value for name, value in given_settings(parsed, Request).items() if name not in leave_out}
    settings: dict[str, Any] = {}
    refused: dict[str, UserError] = {}
    try:
        for spec, options in _options({*about(Request), *leave_out}):
            for option, name in options.items():
                if not hasattr(parsed, option):
                    continue
                try:
                    settings[name] = checked(name, getattr(parsed, option), about(spec.Settings)[name][1], where)
                except UserError as error:
                    refused[name] = error
        for name, refusal in refused.items():
            if name not in settings:
                raise refusal
        return Request(**chosen, settings=settings).check(where)
    except UserError as error:
        parsed.refuse(str(error))
        raise


def _options(reserved: Collection[str]) -> Iterator[tuple[MethodSpec, Mapping[str, str]]]:
    """Each method with the names of its settings by those of their options."""
    kinds: dict[str, tuple[Any, ...]] = {}
    for spec in method_specs().values():
        options = {}
        for name, (_, one) in about(spec.Settings).items():
            if name in reserved:
                continue
            same = kinds.setdefault(name, _kind(one)) == _kind(one)
            options[name if same else f"{spec.name}_{name}"] = name
        yield spec, options


def _kind(one: About) -> tuple[Any, ...]:
    return one.kind, one.choices, one.length, one.optional
