"""The choices of a run as options of a command line: those of every run, and those of each method."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.options import add_settings, given_settings
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.settings import about, checked
from IterMask3DLib.methods.registry import method_specs


def add_request_options(parser: argparse.ArgumentParser, leave_out: Collection[str] = ()) -> None:
    """Adds an option for each field of `Request` and for each setting of every method; one name is one option.

    Args:
        leave_out: names that are other options of the parser.
    """
    add_settings(parser, Request, leave_out=[*leave_out])
    taken = {*about(Request), *leave_out}
    for spec in method_specs().values():
        group = parser.add_argument_group(f"settings of {spec.title} (default: the model's)")
        add_settings(group, spec.Settings, leave_out=[*taken])
        taken |= set(about(spec.Settings))
    parser.set_defaults(refuse=parser.error)


def request_from(parsed: argparse.Namespace, where: str, leave_out: Collection[str] = (), **more: Any) -> Request:
    """The request of a parsed command line; a value out of range is a usage error.

    Args:
        where: the command, for the error.
        leave_out: as of `add_request_options`.
        more: fields of the request that are no options.
    """
    chosen = {name: value for name, value in given_settings(parsed, Request).items() if name not in leave_out}
    settings: dict[str, Any] = {}
    own = {*about(Request), *leave_out}
    try:
        for spec in method_specs().values():
            for name, value in given_settings(parsed, spec.Settings).items():
                if name not in own:
                    settings[name] = checked(name, value, about(spec.Settings)[name][1], where)
        return Request(**{**chosen, **more}, settings=settings).check(where)
    except UserError as error:
        parsed.refuse(str(error))
        raise
