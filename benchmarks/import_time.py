"""Seconds that loading the pack adds to the start of ComfyUI: `python benchmarks/import_time.py`.

Each run is a process of its own: the host is imported first, then the pack as the host's loader
does it (import, entry point, schemas of all nodes).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "host"))

import hosts  # noqa: E402  # beside the host tests, which find ComfyUI the same way

BUDGET = 0.2  # seconds
ONE_RUN = """
import asyncio, importlib.util, sys, time
from pathlib import Path
import hosts
hosts.enter(Path(sys.argv[1]), Path(sys.argv[3]))
import nodes, execution, server

async def load():
    start = time.perf_counter()
    spec = importlib.util.spec_from_file_location("pack", sys.argv[2] + "/__init__.py")
    pack = importlib.util.module_from_spec(spec)
    sys.modules["pack"] = pack
    spec.loader.exec_module(pack)
    extension = await pack.comfy_entrypoint()
    await extension.on_load()
    for node in await extension.get_node_list():
        node.GET_SCHEMA()
    return time.perf_counter() - start

print(asyncio.run(load()))
"""


def seconds(host: Path) -> float:
    """One measurement, in a fresh process."""
    with tempfile.TemporaryDirectory() as base:
        answer = subprocess.run(
            [sys.executable, "-c", ONE_RUN, str(host), str(ROOT), base],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "tests" / "host")},
        )
    return float(answer.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    host = hosts.find_host()
    if host is None:
        sys.exit(hosts.HOW_TO_GET_ONE)
    seconds(host)  # compiles the bytecode
    measured = sorted(seconds(host) for _ in range(runs))
    print(
        f"loading the pack: median {statistics.median(measured):.3f} s of {runs} runs "
        f"({measured[0]:.3f} to {measured[-1]:.3f}), budget {BUDGET} s"
    )


if __name__ == "__main__":
    main()
