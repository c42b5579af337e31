"""Full-size nets through both loaders: the residuals of one step must be equal, to the last bit.

`python benchmarks/full_size.py sd15 sd21 sdxl union` (up to 14 GB of memory, a minute each).
ComfyUI reads the diffusers layout, and so every union net, only at its real size, which is too much
for a test: the tests compare small nets instead.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "host")]

import hosts  # noqa: E402  # beside the host tests, which find ComfyUI the same way


def main() -> None:
    """Prints the greatest difference for each family asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="+", choices=["sd15", "sd21", "sdxl", "union", "promax"])
    families = parser.parse_args().families
    host_path = hosts.find_host()
    if host_path is None:
        sys.exit(hosts.HOW_TO_GET_ONE)
    with tempfile.TemporaryDirectory() as base:
        host = hosts.enter(host_path, Path(base))
        import conftest  # noqa: F401  # loads the pack as `controlstack`, on one thread

        for family in families:
            difference, size = compare(host.controlnets, family)
            print(f"{family}: greatest difference {difference} on residuals up to {size:.2f}")


def compare(folder: Path, family: str) -> tuple[float, float]:
    """Greatest difference of all residuals, and the greatest residual."""
    import comfy.controlnet
    import torch
    from comfy.model_sampling import EPS, ModelSamplingDiscrete

    from controlstack.controlnet_core import formats
    from controlstack.controlnet_core.nets import SD15, SD21, SDXL, Layers, build
    from controlstack.nodes.load import load_control

    configs = {
        "sd15": SD15, "sd21": SD21, "sdxl": SDXL,
        "union": SDXL.like(union_types=6), "promax": SDXL.like(union_types=8),
    }  # fmt: skip
    config, path = configs[family], folder / f"{family}.safetensors"
    format = formats.DIFFUSERS_UNION if config.union_types else formats.DIFFUSERS
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(w.shape, generator=generator).mul_(0.03).half()
        for name, w in build(config, Layers(device="meta")).state_dict().items()
    }
    formats.save(formats.fill(config, weights), path, format=format)
    del weights

    class Sampling(ModelSamplingDiscrete, EPS):
        pass

    sigmas, x = torch.full((2,), 5.0), torch.randn(2, 4, 16, 16, generator=generator)
    cond = {
        "c_crossattn": torch.randn(2, 77, config.context_dim, generator=generator),
        "y": torch.randn(2, config.adm_in_channels or 1, generator=generator),
    }
    hint, sampling = torch.rand(1, 3, 100, 90, generator=generator), Sampling()

    class Model:
        model_sampling, diffusion_model = sampling, None

    def residuals(control: Any) -> list[torch.Tensor]:
        control.set_cond_hint(hint, 0.7)
        if config.union_types:
            control.set_extra_arg("control_type", [1])
        if hasattr(control, "net"):
            control.net.check = lambda model: None  # there is no model at all here
        control.pre_run(Model(), sampling.percent_to_sigma)
        with torch.inference_mode():
            result = control.get_control(x, sigmas, cond, 2, {"sigmas": sigmas[:1]})
        return [result["middle"][0], *result["output"]]

    found = residuals(load_control(path.name))
    gc.collect()
    expected = residuals(comfy.controlnet.load_controlnet(str(path)))
    path.unlink()
    pairs = list(zip(found, expected, strict=True))
    difference = max(float((a - b).abs().max()) for a, b in pairs)
    return difference, max(float(b.abs().max()) for _, b in pairs)


if __name__ == "__main__":
    main()
