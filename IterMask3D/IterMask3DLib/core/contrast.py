"""What contrast a volume has, as its name or its header says it."""

from __future__ import annotations

import re

T1W, T2W, FLAIR = "T1w", "T2w", "FLAIR"
CONTRASTS = (T1W, T2W, FLAIR)
"""Contrasts that are told apart, by the words of BIDS."""

_T1 = re.compile(r"(?<![a-z0-9])(t1(?!rho)[a-z]*|mprage|mp2rage|bravo|f?spgr)(?![a-z0-9*])")
_T2 = re.compile(r"(?<![a-z0-9])t2w?(?!(\*|[_ -]?star|[a-z0-9]))")
_FLAIR = re.compile(r"flair|dark[_ -]?fluid")


def contrast_in(words: str) -> str:
    """The contrast that a file name or a description names, such as sub-01_T1w or Ax T2 FLAIR; "" for none or several.

    A T1 FLAIR is T1w, a T2* is none of the three.
    """
    text = words.lower()
    t1, t2 = _T1.search(text) is not None, _T2.search(text) is not None
    if _FLAIR.search(text):
        return T1W if t1 and not t2 else FLAIR
    return "" if t1 == t2 else T1W if t1 else T2W


def contrast_of_times(repetition: float | None, echo: float | None, inversion: float | None) -> str:
    """The contrast that a pulse sequence of these times (ms; None: not known) gives; "" where they do not tell.

    Fluid is nulled by long inversions before long echoes (FLAIR); long repetitions and echoes alone make it bright
    (T2w); short echoes with a short repetition or a medium inversion make it dark (T1w).
    """
    if echo is None or repetition is None:
        return ""
    if inversion is not None and inversion >= 1400 and echo >= 60 and repetition >= 3500:
        return FLAIR
    if echo >= 60 and repetition >= 2000 and not inversion:
        return T2W
    short = repetition <= 1200 or (inversion is not None and 250 <= inversion <= 1300)
    return T1W if echo <= 30 and short else ""
