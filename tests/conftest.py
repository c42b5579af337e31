"""Loads the pack by its path as `controlstack`, on one thread and without a network.

The pack has a folder `nodes` and the host a module `nodes`: our root is never on `sys.path`.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _load_pack() -> ModuleType:
    """The pack as the package `controlstack`, whatever its folder is called."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    spec = importlib.util.spec_from_file_location(
        "controlstack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["controlstack"] = module
    spec.loader.exec_module(module)
    return module


class NetworkBlockedError(OSError):
    """A test tried to leave this machine."""


def _refuse_foreign(host: object) -> None:
    """Raises for any host that is not this machine's loopback (None and "" mean this machine)."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        local = ipaddress.ip_address(str(name).split("%")[0]).is_loopback
    except ValueError:  # a name that needs a name server
        local = False
    if not local:
        raise NetworkBlockedError(
            f"A test reached for {name!r}, and tests run without a network. "
            "Use a local file or a fake instead."
        )


def _guarded(call: Callable[..., Any], host_of: Callable[..., object]) -> Callable[..., Any]:
    def guard(*args: Any, **kwargs: Any) -> Any:
        _refuse_foreign(host_of(*args, **kwargs))
        return call(*args, **kwargs)

    return guard


def _block_network() -> None:
    """Lets sockets reach loopback and Unix addresses alone, from collection to the last test."""

    def address_host(_sock: object, address: object) -> object:
        return address[0] if isinstance(address, tuple) else None  # a Unix address is a path

    def sendto_host(_sock: object, _data: object, *rest: object) -> object:
        return address_host(None, rest[-1])

    def first(host: object, *_rest: object, **_options: object) -> object:
        return host

    sends = {"connect": address_host, "connect_ex": address_host, "sendto": sendto_host}
    for name, host_of in sends.items():
        setattr(socket.socket, name, _guarded(getattr(socket.socket, name), host_of))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        setattr(socket, name, _guarded(getattr(socket, name), first))


def _use_one_thread() -> None:
    """One thread here and in child processes.

    With two, an OpenMP barrier waits for a descheduled thread: up to 100 times slower when busy.
    """
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # read when torch is imported
    import torch

    torch.set_num_threads(1)


_block_network()
_use_one_thread()
_PACK = _load_pack()


@pytest.fixture(scope="session")
def pack() -> ModuleType:
    """The package `controlstack`, loaded from this checkout."""
    return _PACK
