"""JSON and YAML that somebody meant otherwise: strategies that change a value anywhere in a record."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

NASTY: list[Any] = [
    *(None, True, False, "", " ", "none", "nan", "\0", "../../x", "/dev/zero", "x" * 3000, "=1+1", "é\ud800"),
    *(0, -1, 1, 2, 3, 7, 15, 16, 17, 1024, 1025, 2**31, 2**63, 10**30, -(10**30)),
    *(0.0, -0.0, 0.5, 1e-300, 1e300, float("nan"), float("inf"), -float("inf")),
    *(
        [],
        [None],
        [1],
        [0, 0, 0],
        [16, 16],
        [48, 48, 48],
        [16] * 3,
        [1024] * 3,
        [10**9] * 3,
        ["T1w"],
        ["T1w"] * 2,
        [[[]]],
    ),
    *({}, {"a": 1}, {"": None}),
]


def _places(record: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    return [way, *(place for key, value in inner for place in _places(value, (*way, key)))]


def changed_at(record: Any, way: tuple[Any, ...], change: Any) -> Any:
    """A copy of a record with another value at a place, or without it where the change is a way to leave it out."""
    if not way:
        return change
    result = copy.deepcopy(record)
    inside = result
    for key in way[:-1]:
        inside = inside[key]
    if change is LEFT_OUT:
        del inside[way[-1]]
    else:
        inside[way[-1]] = change
    return result


LEFT_OUT = object()
VALUES = st.one_of(
    st.sampled_from(NASTY),
    st.just(LEFT_OUT),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(-2, 2000), max_size=5),
)


@st.composite
def changed(draw: st.DrawFn, record: Any, most: int = 3) -> Any:
    """A record with one or a few values that are other ones."""
    for _ in range(draw(st.integers(1, most))):
        places = [way for way in _places(record) if way]
        if not places:
            break
        record = changed_at(record, draw(st.sampled_from(places)), draw(VALUES))
        if not isinstance(record, (dict, list)):
            break
    return record
