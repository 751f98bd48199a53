"""The same seed gives the same result: on any number of threads, and on either backend."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from IterMask3DLib.core.image import Case
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.core.result import ANOMALY, HEATMAP, CaseResult
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import finish, run_case
from IterMask3DLib.runtime.openvino import available

TOLERANCE = 1e-4
"""Of the largest error: sums of other parts in another order differ by rounding."""

BACKENDS = ["pytorch", *(["openvino"] if available() else [])]


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def segmented(threads: int, backend: str) -> CaseResult:
    torch.set_num_threads(threads)
    request = Request(device="cpu", backend=backend, seed=3, settings={"sweep_passes": 1, "max_shrink": 3})
    return finish(run_case(Case.of(read_image(sample_volume())), load_model(find_model("t1w-2mm")), request))


@pytest.fixture(scope="module")
def usual() -> CaseResult:
    return segmented(1, "pytorch")


@pytest.mark.parametrize(("threads", "backend"), [(1, "pytorch"), *((2, backend) for backend in BACKENDS)])
def test_one_seed_finds_the_same(threads: int, backend: str, usual: CaseResult) -> None:
    found = segmented(threads, backend)
    one, other = (np.asarray(each.array(HEATMAP)) for each in (usual, found))
    assert np.abs(one - other).max() <= TOLERANCE * one.max()
    masks = [np.asarray(each.array(ANOMALY)) for each in (usual, found)]
    assert masks[0].any()
    if (threads, backend) == (1, "pytorch"):
        np.testing.assert_array_equal(one, other)
    # A voxel whose error is the threshold to the last digit may fall on either side.
    assert (masks[0] != masks[1]).sum() <= 1e-3 * masks[0].sum()
