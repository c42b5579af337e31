"""What a strength of 0 saves: seconds a step of our controls, against ComfyUI's own nodes.

`python benchmarks/strength.py`: each case beside our plain control and beside what a user of
ComfyUI's nodes has to do for the same, in turn. A case that leaves work out should save what the
net's own share of the step says: `as predicted` is measured over predicted time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from side_by_side import LIMIT, Run, pairs

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "host")]

import hosts  # noqa: E402  # beside the host tests, which find ComfyUI the same way

CASES = ("plain", "cond only", "masked out", "half the batch", "EasyCache", "two areas")
SAVING = ("cond only", "masked out", "half the batch")
BATCH, STEPS = 2, 8


@dataclass(frozen=True, eq=False)
class Case:
    """One case: a run of ours, and one of the host's that does the same or the nearest to it."""

    ours: Run
    theirs: Run
    near: str
    """What the host's run is, where it cannot do the same."""


def main() -> None:
    """Prints a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, help="measured pairs of runs")
    parser.add_argument("--latent", type=int, default=16, help="side of the latent")
    options = parser.parse_args()
    host_path = hosts.find_host()
    if host_path is None:
        sys.exit(hosts.HOW_TO_GET_ONE)
    with tempfile.TemporaryDirectory() as base:
        host = hosts.enter(host_path, Path(base))
        import conftest  # noqa: F401  # loads the pack as `controlstack`, on one thread

        print(f"ComfyUI {host.version}, small SD1.5, batch {BATCH}, cfg 7, CPU, float32")
        bench = Bench(host, options.latent)
        for name in CASES:
            print(bench.line(name, options.pairs))


class Bench:
    """The cases over one small model and one small net."""

    def __init__(self, host: hosts.Host, latent: int) -> None:
        import nets
        import nodes

        from controlstack.nodes.load import load_control

        self.size = (latent, latent)
        self.image = nets.picture(1, 8 * latent, 8 * latent)
        name = nets.net_file(host.controlnets, seed=1)
        self.control = load_control(name)
        (self.stock,) = nodes.ControlNetLoader().load_controlnet(name)
        self.plain = self.run(self.ours())

    def line(self, name: str, count: int) -> str:
        case = self.case(name)
        ratio, bound = pairs(case.ours, case.theirs, count).ratio
        text = f"{name}: {ratio:.3f} of {case.near}, upper 95 % bound {bound:.3f}"
        if name == "plain":
            return f"{text} ({'ok' if bound <= LIMIT else f'over {LIMIT}'})"
        return f"{text}; {self.saved(case, count)}" if name in SAVING else text

    def saved(self, case: Case, count: int) -> str:
        """What the case saves of our plain control, beside what its rows of the net cost."""
        with net_seconds() as ours:
            case.ours()
        with net_seconds() as whole:
            self.plain()
        share, left_out = whole.seconds / whole.total, 1.0 - ours.rows / whole.rows
        found, _ = pairs(case.ours, self.plain, count).ratio
        return (
            f"{left_out:.0%} of the rows of a net that is {share:.0%} of the step left out: "
            f"{found:.3f} of our plain step, {found / (1.0 - share * left_out):.3f} as predicted"
        )

    def case(self, name: str) -> Case:
        import torch

        from controlstack.controlnet_core.control import (
            CONTROL_MODES,
            BatchStrengths,
            ControlSpec,
        )

        whole = "the host's Apply on both prompts"
        theirs = self.run(self.theirs())
        match name:
            case "cond only":
                positive, _ = self.theirs()
                by_hand = self.run((positive, self.prompts()[1]))
                ours = self.ours(spec=CONTROL_MODES["cond only"])
                return Case(self.run(ours), by_hand, "the host's Apply on the prompt alone")
            case "masked out":
                black = torch.zeros(1, 8 * self.size[0], 8 * self.size[1])
                return Case(self.run(self.ours(mask=black)), theirs, whole)
            case "half the batch":
                spec = ControlSpec(items=(BatchStrengths(((0, 1.0),)),))
                return Case(self.run(self.ours(spec=spec)), theirs, whole)
            case "EasyCache":
                model = self.cached()
                return Case(
                    self.run(self.ours(), model), self.run(self.theirs(), model),
                    "the host's Apply with EasyCache",
                )  # fmt: skip
            case "two areas":
                return Case(
                    self.run(self.ours(areas=True)), self.run(self.theirs(areas=True)),
                    "the host's Apply on two areas",
                )  # fmt: skip
            case _:
                return Case(self.plain, theirs, whole)

    def run(self, conds: Any, model: Any = None) -> Run:
        import nets

        base = nets.model() if model is None else model
        return lambda: nets.sample(base, *conds, steps=STEPS, size=self.size, batch=BATCH)

    def prompts(self, areas: bool = False) -> tuple[Any, Any]:
        import nets
        import nodes

        positive, negative = nets.prompts()
        if not areas:
            return positive, negative
        halves = (
            nodes.ConditioningSetAreaPercentage().append(positive, 0.5, 1.0, x, 0.0, 1.0)[0]
            for x in (0.0, 0.5)
        )
        return [each for half in halves for each in half], negative

    def ours(self, *, areas: bool = False, **settings: Any) -> Any:
        from controlstack.nodes.apply import Item, apply_item

        return apply_item(Item(self.control, self.image, 0.5, **settings), self.prompts(areas))

    def theirs(self, *, areas: bool = False) -> Any:
        import nodes

        return nodes.ControlNetApplyAdvanced().apply_controlnet(
            *self.prompts(areas), self.stock, self.image, 0.5, 0.0, 1.0
        )

    def cached(self) -> Any:
        import nets
        from comfy_extras.nodes_easycache import EasyCacheNode

        return EasyCacheNode.execute(nets.model(), 3.0, 0.15, 0.95, False).args[0]


@dataclass
class NetTime:
    """What a net cost in one run: seconds of it and of all, and rows that it computed."""

    seconds: float = 0.0
    total: float = 0.0
    rows: int = 0


@contextmanager
def net_seconds() -> Iterator[NetTime]:
    """Times the calls of our net while the block runs."""
    from controlstack.controlnet_core.nets import ControlNet

    found, real, begun = NetTime(), ControlNet.forward, perf_counter()

    def timed(net: ControlNet, x: Any, *args: Any, **named: Any) -> Any:
        start = perf_counter()
        result = real(net, x, *args, **named)
        found.seconds += perf_counter() - start
        found.rows += x.shape[0]
        return result

    ControlNet.forward = timed  # type: ignore[method-assign]
    try:
        yield found
    finally:
        ControlNet.forward = real  # type: ignore[method-assign]
        found.total = perf_counter() - begun


if __name__ == "__main__":
    main()
