"""The real ComfyUI for the tests in this folder: in this process, and as a server beside it.

A test module here may import the host and `controlstack.nodes` at its top: the host is on
`sys.path`, set to the CPU, before the module is collected. Without a host nothing here is imported,
and the whole folder is one skipped line.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hosts
import pytest

HOST_PATH = hosts.find_host()
HOST = hosts.enter(HOST_PATH, Path(tempfile.mkdtemp(prefix="controlstack-"))) if HOST_PATH else None


def pytest_report_header() -> str:
    return f"host: ComfyUI {HOST.version} at {HOST.path}" if HOST else "host: none"


def pytest_unconfigure() -> None:
    if HOST:
        shutil.rmtree(HOST.base, ignore_errors=True)


class NoHostItem(pytest.Item):
    def runtest(self) -> None:
        pytest.skip(hosts.HOW_TO_GET_ONE)


class NoHostModule(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        yield NoHostItem.from_parent(self, name="no host")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.File | None:
    """Without a host, stands in for each test module, whose imports would fail."""
    return None if HOST else NoHostModule.from_parent(parent, path=module_path)


@pytest.fixture(scope="session")
def host() -> hosts.Host:
    """The host inside this process; its loaders find ControlNet files in `host.controlnets`."""
    assert HOST is not None
    return HOST


@pytest.fixture(scope="session")
def _prompt_server(host: hosts.Host) -> Any:
    """The host's server object without a socket, and its node list with ours in it."""
    import in_process

    return in_process.start()


@pytest.fixture
def run_graph(_prompt_server: Any) -> Callable[..., dict[str, Any]]:
    """`run_graph(graph)`: a graph in API format through the host's executor, in this process.

    Returns what its output nodes show, raises GraphError; results are cached within one test.
    """
    import in_process

    return in_process.Executor(_prompt_server).run


@pytest.fixture(scope="session")
def server(host: hosts.Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The real server with our pack and the tiny checkpoint, started once; a `serving.Server`."""
    import serving

    packs = {"controlstack": hosts.PACK, "tiny_nodes": Path(__file__).with_name("tiny_nodes")}
    with serving.serve(host.path, tmp_path_factory.mktemp("server"), packs) as running:
        yield running
