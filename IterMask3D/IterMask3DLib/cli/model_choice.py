"""Which model each case is for, where the user names none: the one whose input is what the case is said to be."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from IterMask3DLib.batch import CaseFiles
from IterMask3DLib.models.catalogue import DEFAULT_MODEL, find_model, model_for
from IterMask3DLib.preprocessing.read import described_contrast


def by_model(cases: Sequence[CaseFiles]) -> dict[Path, list[CaseFiles]]:
    """The cases of each model folder, and a line on stderr for each reason that one was chosen."""
    groups: dict[tuple[str, str], list[CaseFiles]] = {}
    for case in cases:
        groups.setdefault(described_contrast(case.path), []).append(case)
    found: dict[Path, list[CaseFiles]] = {}
    for (contrast, source), members in groups.items():
        folder, why = _chosen(contrast, source)
        which = members[0].name if len(members) == 1 else f"{len(members)} cases"
        print(f"{which}: model {folder.name}, {why} (--model takes another)", file=sys.stderr, flush=True)
        found.setdefault(folder, []).extend(members)
    return found


def _chosen(contrast: str, source: str) -> tuple[Path, str]:
    entry = model_for(contrast) if contrast else None
    if entry is not None:
        return entry.folder, f"for {contrast} as the {source} says"
    what = f"no model is for {contrast}" if contrast else "neither name nor header says what it is"
    return find_model(DEFAULT_MODEL), f"the default, because {what}"
