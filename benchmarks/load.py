"""Seconds and memory to load a 1.4 GB ControlNet: ours against safetensors' own `load_file`.

`python benchmarks/load.py`: each run is a process of its own. The yardstick is `load_file` plus one
copy of every tensor, since a net that only maps its file dies with it. The scan for NaN is apart.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

MAKE = """
import sys; sys.path.insert(0, sys.argv[1] + "/tests"); import conftest, torch
from controlstack.controlnet_core import formats
from controlstack.controlnet_core.nets import SD15, Layers, build
shapes = build(SD15, Layers(device="meta")).state_dict()
torch.manual_seed(0)
weights = {name: torch.randn(w.shape) * 0.02 for name, w in shapes.items()}
formats.save(formats.fill(SD15, weights), sys.argv[2])
"""
RUN = """
import sys; sys.path.insert(0, sys.argv[1] + "/tests"); import conftest, resource, time, torch
from safetensors.torch import load_file
from controlstack.controlnet_core.files import check_finite, read_header, read_tensors
from controlstack.controlnet_core import formats
def ours():
    file = formats.open_file(sys.argv[2])
    file.check()
    return formats.fill(file.config, {
        n.removeprefix(file.prefix): t for n, t in read_tensors(file.header).items()})
def theirs():
    return {name: tensor.clone() for name, tensor in load_file(sys.argv[2]).items()}
def scan():
    header = read_header(sys.argv[2]); tensors = read_tensors(header)
    start = time.perf_counter(); check_finite(header, tensors)
    return time.perf_counter() - start
with open(sys.argv[2], "rb") as file:
    while file.read(1 << 24): pass
start = time.perf_counter()
kept = {"ours": ours, "theirs": theirs, "scan": scan}[sys.argv[3]]()
seconds = kept if sys.argv[3] == "scan" else time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def run(code: str, *arguments: object) -> list[float]:
    """The numbers that `code` prints, in a fresh process."""
    answer = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), *map(str, arguments)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return [float(word) for word in answer.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    count = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.safetensors"
        run(MAKE, file)
        size = file.stat().st_size / 2**30
        measured = {kind: [] for kind in ("ours", "theirs", "scan")}
        for _ in range(count):
            for kind, rows in measured.items():
                rows.append(run(RUN, file, kind))
    seconds = {kind: statistics.median(row[0] for row in rows) for kind, rows in measured.items()}
    ratios = [a[0] / b[0] for a, b in zip(measured["ours"], measured["theirs"], strict=True)]
    print(f"file {size:.2f} GiB, in the page cache, {count} runs in turn")
    print(f"load_file and a copy: median {seconds['theirs']:.2f} s")
    ratio = statistics.median(ratios)
    print(f"ours, net included:   median {seconds['ours']:.2f} s, ratio {ratio:.2f}")
    print(f"scan for NaN, apart:  median {seconds['scan']:.2f} s")
    for kind in ("theirs", "ours"):
        print(f"peak memory {kind}: {max(row[1] for row in measured[kind]):.2f} GiB")


if __name__ == "__main__":
    main()
