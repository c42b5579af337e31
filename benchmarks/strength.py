"""What a strength of 0 saves: our controls beside those of ComfyUI and of Advanced-ControlNet.

`python benchmarks/strength.py`: each case beside the nearest thing that the others can do, in turn,
in one process. Advanced-ControlNet stands among the host's custom nodes, or where CONTROLSTACK_ACN
says. A case that leaves work out should save what that work's own share of the run says:
`as predicted` is measured over predicted time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from side_by_side import LIMIT, Run, pairs, timed

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "host")]

import acn  # noqa: E402
import hosts  # noqa: E402  # beside the host tests, which find ComfyUI the same way

BATCH, STEPS = 2, 8
NOTHING: Callable[..., dict[str, Any]] = lambda *args: {}  # noqa: E731


@dataclass(frozen=True)
class Case:
    """Settings of an Apply node that leave work out, and what they are beside."""

    ours: Callable[[Bench], dict[str, Any]] = NOTHING
    advanced: Callable[[Bench], dict[str, Any]] = NOTHING
    theirs: str = "the host's Apply"
    areas: bool = False
    cached: bool = False
    prompt_alone: bool = False
    """Whether the host's Apply is given the prompt alone."""
    left_out: str = ""
    """What it saves, 'rows' of the net or 'hints' to encode; against `before`."""
    before: str = "ours"
    """A plain run of ours, or the same run of the host."""


def black(bench: Bench) -> Any:
    import torch

    return torch.zeros(1, 8 * bench.size[0], 8 * bench.size[1])


def cond_only(bench: Bench) -> Any:
    from controlstack.controlnet_core.control import CONTROL_MODES

    return CONTROL_MODES["cond only"]


def first_picture(bench: Bench) -> Any:
    from controlstack.controlnet_core.control import BatchStrengths, ControlSpec

    return ControlSpec(items=(BatchStrengths(((0, 1.0),)),))


CASES = {
    "plain": Case(),
    "cond only": Case(
        lambda bench: {"spec": cond_only(bench)},
        lambda bench: {
            "weights_override": bench.acn.ACN_ScaledSoftControlNetWeights.execute(1.0, 0.0).args[0]
        },
        "the host's Apply on the prompt alone", prompt_alone=True, left_out="rows",
    ),
    "masked out": Case(
        lambda bench: {"mask": black(bench)},
        lambda bench: {"mask_optional": black(bench)}, left_out="rows",
    ),
    "half the batch": Case(
        lambda bench: {"spec": first_picture(bench)},
        lambda bench: {"latent_kf_override": bench.acn.LatentKeyframe.execute(0, 1.0).args[0]},
        left_out="rows",
    ),
    "EasyCache": Case(
        theirs="the host's Apply with EasyCache", cached=True, left_out="rows", before="theirs"
    ),
    "two areas": Case(
        theirs="the host's Apply for each area with its part of the hint", areas=True,
        left_out="hints", before="theirs",
    ),
}  # fmt: skip


def main() -> None:
    """Prints a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, help="measured pairs of runs")
    parser.add_argument("--latent", type=int, default=16, help="side of the latent")
    parser.add_argument("--only", nargs="*", help="names of cases")
    options = parser.parse_args()
    host_path = hosts.find_host()
    if host_path is None:
        sys.exit(hosts.HOW_TO_GET_ONE)
    with tempfile.TemporaryDirectory() as base:
        host = hosts.enter(host_path, Path(base))
        import conftest  # noqa: F401  # loads the pack as `controlstack`, on one thread

        print(f"ComfyUI {host.version}, small SD1.5, batch {BATCH}, cfg 7, CPU, float32")
        bench = Bench(host, options.latent)
        for name, case in CASES.items():
            if not options.only or name in options.only:
                print(f"{name}: {bench.line(case, options.pairs)}", flush=True)


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
        path = acn.find_acn(host.path)
        self.acn = acn.import_acn(path) if path else None

    def line(self, case: Case, count: int) -> str:
        ours, theirs = self.ours(case), self.theirs(case)
        ratio, bound = pairs(ours, theirs, count).ratio
        text = f"{ratio:.3f} of {case.theirs}, upper 95 % bound {bound:.3f}"
        if not case.left_out:
            text += f" ({'ok' if bound <= LIMIT else f'over {LIMIT}'})"
        if self.acn:
            beside, bound = pairs(ours, self.advanced(case), count).ratio
            text += f"; {beside:.3f} of Advanced-ControlNet ({bound:.3f})"
        return f"{text}; {self.saved(case, count)}" if case.left_out else text

    def saved(self, case: Case, count: int) -> str:
        """What the case saves, beside what the work that it leaves out costs."""
        ours = self.ours(case)
        before = self.theirs(case) if case.before == "theirs" else self.ours(Case())
        with Watch(case.left_out) as after:
            ours()
        shares = []
        for _ in range(5):
            with Watch(case.left_out) as whole:
                total = timed(before)
            shares.append(whole.seconds / total)
        share, left_out = statistics.median(shares), 1.0 - after.rows / whole.rows
        found, _ = pairs(ours, before, count).ratio
        return (
            f"{left_out:.0%} left out of what is {share:.0%} of {case.before}: "
            f"{found:.3f} of it, {found / (1.0 - share * left_out):.3f} as predicted"
        )

    def ours(self, case: Case) -> Run:
        from controlstack.nodes.apply import Item, apply_item

        item = Item(self.control, self.image, 0.5, **case.ours(self))
        return self.run(case, apply_item(item, self.prompts(case.areas)))

    def theirs(self, case: Case) -> Run:
        import nodes

        apply, (prompt, without) = nodes.ControlNetApplyAdvanced(), self.prompts(case.areas)
        settings = (self.stock, self.image, 0.5, 0.0, 1.0)
        positive, negative = apply.apply_controlnet(prompt, without, *settings)
        if case.areas:  # the same as ours takes an Apply for each, with the hint cut by hand
            halves = zip(prompt, self.image.chunk(2, dim=2), strict=True)
            positive = [
                each for cond, part in halves
                for each in apply.apply_controlnet([cond], [], self.stock, part, *settings[2:])[0]
            ]
        return self.run(case, (positive, without if case.prompt_alone else negative))

    def advanced(self, case: Case) -> Run:
        applied = self.acn.ACN_AdvancedControlNetApply_v2.execute(
            *self.prompts(case.areas), self.stock, self.image, 0.5, 0.0, 1.0,
            **case.advanced(self),
        )  # fmt: skip
        return self.run(case, applied.args[:2])

    def run(self, case: Case, conds: Any) -> Run:
        import nets
        from comfy_extras.nodes_easycache import EasyCacheNode

        model = nets.model()
        if case.cached:
            model = EasyCacheNode.execute(model, 3.0, 0.15, 0.95, False).args[0]
        return lambda: nets.sample(model, *conds, steps=STEPS, size=self.size, batch=BATCH)

    def prompts(self, areas: bool) -> tuple[Any, Any]:
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


class Watch:
    """Seconds and rows of all nets, or of all encoders of hints, while the block runs."""

    def __init__(self, what: str) -> None:
        from comfy.cldm.cldm import ControlNet as Stock
        from torch.nn import Sequential

        from controlstack.controlnet_core.nets import ControlNet

        self.nets, self.sequence, self.hints = (ControlNet, Stock), Sequential, what == "hints"
        self.seconds, self.rows, self.begun = 0.0, 0, 0.0
        self.hooks: list[Any] = []

    def __enter__(self) -> Watch:
        from torch.nn.modules import module

        self.hooks = [
            module.register_module_forward_pre_hook(self.begin),
            module.register_module_forward_hook(self.end, with_kwargs=True),
        ]
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def begin(self, module: Any, args: tuple[Any, ...]) -> None:
        if self.watches(module):
            self.begun = perf_counter()

    def end(self, module: Any, args: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        if self.watches(module):
            self.seconds += perf_counter() - self.begun
            self.rows += (*args, *named.values())[0].shape[0]

    def watches(self, module: Any) -> bool:
        if not self.hints:
            return isinstance(module, self.nets)
        return isinstance(module, self.sequence) and getattr(module[0], "in_channels", 0) == 3


if __name__ == "__main__":
    main()
