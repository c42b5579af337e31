"""Seconds a step with 0 to 3 ControlNets: ours against ComfyUI's own nodes, as a ratio.

`python benchmarks/chain.py`: both in one process, in turn. A ratio under 1 means that ours is
faster.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from side_by_side import LIMIT, Pairs, Run, pairs

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "host")]

import hosts  # noqa: E402  # beside the host tests, which find ComfyUI the same way


def main() -> None:
    """Prints a table of ratios with their upper 95 % bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, help="measured pairs of runs")
    parser.add_argument("--steps", type=int, default=4, help="sampler steps of a run")
    parser.add_argument("--latent", type=int, default=16, help="side of the latent")
    parser.add_argument("--layout", default="SD15", choices=["SD15", "SD20", "SDXL"])
    options = parser.parse_args()
    host_path = hosts.find_host()
    if host_path is None:
        sys.exit(hosts.HOW_TO_GET_ONE)
    with tempfile.TemporaryDirectory() as base:
        host = hosts.enter(host_path, Path(base))
        import conftest  # noqa: F401  # loads the pack as `controlstack`, on one thread

        print(f"ComfyUI {host.version}, {options.layout}, latent {options.latent}, CPU, float32")
        for count in range(4):
            ours, theirs = runs(host, count, options)
            print(report(f"{count} nets", pairs(ours, theirs, options.pairs), options.steps))


def runs(host: hosts.Host, count: int, options: argparse.Namespace) -> tuple[Run, Run]:
    """A sampling run with `count` nets through our nodes, and the same through the host's."""
    import nets
    import nodes

    from controlstack.nodes.apply import Item, apply_item
    from controlstack.nodes.load import load_control

    base = nets.model(options.layout)
    image = nets.picture(1, 8 * options.latent, 8 * options.latent)
    ours = theirs = tuple(nets.prompts(options.layout))
    for seed in range(count):
        name = nets.net_file(host.controlnets, options.layout, seed=seed)
        ours = apply_item(Item(load_control(name), image, 0.5), ours)
        (control,) = nodes.ControlNetLoader().load_controlnet(name)
        theirs = nodes.ControlNetApplyAdvanced().apply_controlnet(
            *theirs, control, image, 0.5, 0.0, 1.0
        )
    size = (options.latent, options.latent)
    return (
        lambda: nets.sample(base, *ours, steps=options.steps, size=size),
        lambda: nets.sample(base, *theirs, steps=options.steps, size=size),
    )


def report(name: str, measured: Pairs, steps: int) -> str:
    """Medians a step, and the ratio with its bound."""
    ratio, bound = measured.ratio
    ours, theirs = (seconds / steps for seconds in measured.medians)
    verdict = "ok" if bound <= LIMIT else f"over {LIMIT}"
    return (
        f"{name}: ours {ours:.4f} s a step, host {theirs:.4f} s, ratio {ratio:.3f}, "
        f"upper 95 % bound {bound:.3f} ({verdict})"
    )


if __name__ == "__main__":
    main()
