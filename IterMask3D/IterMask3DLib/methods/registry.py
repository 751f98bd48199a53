"""Which methods there are: the folders beside this file, and those of other packages.

A package of a stranger offers a method through the entry point group `itermask3d.methods`, whose entries name a
`MethodSpec`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from importlib.metadata import entry_points

from IterMask3DLib import methods
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.base import MethodSpec

GROUP = "itermask3d.methods"


@lru_cache(maxsize=1)
def method_specs() -> dict[str, MethodSpec]:
    """Every method by its name, the built-in ones first, without torch. Raises `UserError` for a broken package."""
    folders = sorted(found.name for found in pkgutil.iter_modules(methods.__path__) if found.ispkg)
    specs = [importlib.import_module(f"{methods.__name__}.{name}").SPEC for name in folders]
    for entry in entry_points(group=GROUP):
        try:
            spec = entry.load()
        except Exception as error:  # A stranger's package can fail in any way; which one it is must be told.
            raise UserError(
                f"The method {entry.name} of {entry.value} cannot be loaded ({error}); mend or remove it."
            ) from error
        if not isinstance(spec, MethodSpec):
            raise UserError(f"The method {entry.name} of {entry.value} is no MethodSpec; mend or remove its package.")
        if spec.name in {each.name for each in specs}:
            raise UserError(f"The method {spec.name} of {entry.value} has the name of another; remove its package.")
        specs.append(spec)
    return {spec.name: spec for spec in specs}


def find_method(name: str) -> MethodSpec:
    """The method of a name. Raises `UserError`."""
    specs = method_specs()
    if name not in specs:
        raise UserError(f"The method {name} is not known here; known are {', '.join(specs)}.")
    return specs[name]
