"""Many cases over several processes: each comes once, and what is written is what one process writes."""

from __future__ import annotations

import csv
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.runtime.distributed import Rank, all_gather, current_rank, shard
from Testing.brains import phantom, toy_model
from Testing.launcher import launch, python


@pytest.mark.parametrize("world", [1, 2, 3, 10])
def test_every_case_falls_to_exactly_one_process(world: int) -> None:
    cases = [f"case{number}" for number in range(7)]
    shards = [shard(cases, Rank(rank, world)) for rank in range(world)]
    assert sorted(case for part in shards for case in part) == cases
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_process_that_nobody_launched_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert current_rank({}) == Rank(0, 1, 0)
    # Schedulers set a rank without a meeting place: that is no launcher of ours.
    assert current_rank({"RANK": "3", "WORLD_SIZE": "8"}) == Rank(0, 1, 0)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert all_gather("mine") == ["mine"]


def test_a_rank_that_makes_no_sense_is_refused() -> None:
    meeting = {"MASTER_ADDR": "localhost"}
    assert current_rank({**meeting, "RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == Rank(1, 4, 1)
    with pytest.raises(UserError, match="torchrun"):
        current_rank({**meeting, "RANK": "4", "WORLD_SIZE": "4"})
    with pytest.raises(UserError, match="whole numbers"):
        current_rank({**meeting, "RANK": "first", "WORLD_SIZE": "4"})


def test_processes_that_met_part_before_they_end() -> None:
    # What is registered first is called last. A group that is still there then ends one process in seven with SIGABRT.
    code = """
import atexit
from torch import distributed
atexit.register(lambda: print(distributed.is_initialized()))
from IterMask3DLib.runtime.distributed import all_gather
print(all_gather("a"), distributed.is_initialized())
"""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(lambda rank: python(code, RANK=rank, **meeting), "01"))
    assert [(each.returncode, each.stdout.split("\n")) for each in ended] == [
        (0, ["['a', 'a'] True", "False", ""])
    ] * 2, ended


def rows(path: Path) -> list[dict[str, str]]:
    """A table without how long its cases took."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_two_processes_write_the_files_of_one_and_a_failing_case_stops_neither(tmp_path: Path) -> None:
    values, affine = phantom()
    cases = [tmp_path / f"{name}.nii.gz" for name in ("a", "b", "c")]
    for number, path in enumerate(cases):
        write_nifti((values * (1 + (np.indices(values.shape)[0] > 20) * 0.1 * number)).astype(np.int16), affine, path)
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"not a volume")
    model = toy_model(tmp_path / "toy")
    given = [cases[0], broken, cases[1], cases[2]]
    alone = launch("segment", *given, "-o", tmp_path / "alone", "--model", model, "--device", "cpu")
    shared = launch("segment", *given, "-o", tmp_path / "shared", "--model", model, "--device", "cpu", processes=2)
    assert alone.returncode == 1 and shared.returncode == 1
    assert alone.stdout.count("3 of 4 cases done.") == shared.stdout.count("3 of 4 cases done.") == 1
    assert shared.stderr.count("error: ") == 1 and "broken.nii.gz" in shared.stderr
    written = sorted(path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*.*"))
    assert written == sorted(path.relative_to(tmp_path / "shared") for path in (tmp_path / "shared").rglob("*.*"))
    for path in written:
        first, second = tmp_path / "alone" / path, tmp_path / "shared" / path
        if path.name.endswith(".nii.gz"):
            np.testing.assert_array_equal(read_image(first).array, read_image(second).array, err_msg=str(path))
        elif path.suffix == ".csv":
            assert rows(first) == rows(second), path
