"""Generated cases within a time: rounds of Hypothesis, each with a seed of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import hypothesis

SECONDS = float(os.environ.get("ITERMASK3D_FUZZ_SECONDS", "0"))
"""For all generators together; 0: one short round each, the same on every run."""

GENERATORS = 12
_EXAMPLES = 20


def rounds(check: Callable[..., None], examples: int = _EXAMPLES, **strategies: Any) -> None:
    """Checks what the strategies make, in one round or until this generator's share of the time is over."""
    end = time.monotonic() + SECONDS / GENERATORS
    seed = 0
    while True:
        usual = hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            report_multiple_bugs=False,
        )
        hypothesis.seed(seed)(usual(hypothesis.given(**strategies)(_named(check))))()
        seed += 1
        if time.monotonic() >= end:
            return


def _named(check: Callable[..., None]) -> Callable[..., None]:
    """A function of its own, which each round decorates anew."""

    def checked(**given: Any) -> None:
        check(**given)

    return checked
