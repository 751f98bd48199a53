"""What holds for every test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from IterMask3DLib.methods.registry import method_specs
from Testing.toy_methods import install_toy_methods


@pytest.fixture(autouse=True)
def no_installed_models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user folder, so that no test finds, or leaves, a model in the one of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("user-data", numbered=True)
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums in the same order as in started processes, which have one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def toy_methods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the toy methods are installed in, for this process and for those it starts."""
    site = tmp_path_factory.mktemp("site-packages")
    install_toy_methods(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH")))))
        method_specs.cache_clear()
        yield site
    for name in [name for name in sys.modules if name.startswith("toy_")]:
        del sys.modules[name]
    method_specs.cache_clear()
