"""Depth networks against the library's processors, and hints of a batch of depths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_transformers
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from controlstack.controlnet_core.errors import ControlInputError
from controlstack.controlnet_core.files import read_tensors, save_tensors
from controlstack.preprocessors import PREPROCESSORS, depth_anything_v2
from controlstack.preprocessors._depth_nets import UNUSED, open_depth_pro, open_dpt, open_zoe
from controlstack.preprocessors._networks import Key, use_keeper
from controlstack.preprocessors.depth import MODELS

depth = PREPROCESSORS["depth"]
SIZE = (120, 171)


@pytest.fixture
def library() -> Any:
    """The module transformers, where its processors have the torchvision that they need."""
    pytest.importorskip("torchvision", reason="the library's processors need torchvision")
    return tiny_transformers.transformers()


@pytest.fixture
def image(pictures) -> Tensor:
    return F.interpolate(pictures[:2], SIZE, mode="bilinear")


def both(
    checkpoint: str, open: Callable[..., nn.Module], folder: Path, image: Tensor, prepare: Any,
    **more: Any,
) -> tuple[Tensor, Tensor]:
    """Depth by our module of a folder, and by the library's own model and processor."""
    model = tiny_transformers.write(tiny_transformers.BUILDERS[checkpoint], folder)
    theirs: list[Tensor] = []
    with torch.inference_mode():
        for each in image:
            made = model(**prepare([each], return_tensors="pt", do_rescale=False))
            done = prepare.post_process_depth_estimation(made, target_sizes=[SIZE], **more)
            theirs.append(done[0]["predicted_depth"].view(1, 1, *SIZE))
        return open(folder)(image), torch.cat(theirs)


@pytest.mark.parametrize("checkpoint", ["dpt_large", "dpt_hybrid"])
def test_midas_equals_the_librarys_own(checkpoint, library, image, tmp_path):
    prepare = library.DPTImageProcessor(
        size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    ours, theirs = both(checkpoint, open_dpt, tmp_path, image, prepare)
    assert theirs.std() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_zoe_equals_the_librarys_own(library, image, tmp_path):
    prepare = library.ZoeDepthImageProcessor(ensure_multiple_of=32)
    ours, theirs = both("zoedepth", open_zoe, tmp_path, image, prepare, source_sizes=[SIZE])
    assert theirs.std() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_zoe_lets_no_picture_of_a_batch_choose_for_another(image, tmp_path):
    """Pictures of one run vote for one of its two heads: they run alone, even where many fit."""
    tiny_transformers.FOLDERS["zoedepth"](tmp_path)
    net = open_zoe(tmp_path)
    seen: list[int] = []
    net.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(len(inputs["pixel_values"])), with_kwargs=True
    )
    with torch.inference_mode():
        net(F.interpolate(image, (600, 800)))
    assert seen == [1, 1]


def test_other_nets_run_as_many_pictures_at_once_as_were_planned(image, tmp_path):
    """Run at 64 x 64: of four of 50 x 70 three fit, of two of 10 x 10 one."""
    tiny_transformers.FOLDERS["dpt_large"](tmp_path)
    net = open_dpt(tmp_path)
    seen: list[int] = []
    net.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(len(inputs["pixel_values"])), with_kwargs=True
    )
    with torch.inference_mode():
        net(F.interpolate(image, (100, 150)))
        net(F.interpolate(image, (50, 70)).repeat(2, 1, 1, 1))  # 3.4 squares
        net(F.interpolate(image, (10, 10)))
    assert seen == [2, 3, 1, 1, 1]


def test_depth_pro_equals_the_librarys_own(library, image, tmp_path):
    prepare = library.DepthProImageProcessor(size={"height": 128, "width": 128})
    ours, theirs = both("depth_pro", open_depth_pro, tmp_path, image, prepare)
    with torch.no_grad():
        inverse = ours.clamp(1e-4, 1e4)  # theirs is cut so before it is turned
    torch.testing.assert_close(inverse, 1 / theirs, rtol=1e-4, atol=1e-4)


def test_depth_pro_measures_by_the_width_of_the_lens(image, tmp_path):
    """With the wider lens all is nearer, by the tangent of half its angle."""
    tiny_transformers.FOLDERS["depth_pro"](tmp_path)
    net = open_depth_pro(tmp_path)
    made: list[Tensor] = []
    forward = net.model.forward

    def lens(degrees: float) -> None:
        def told(**inputs: Any) -> Any:
            found = forward(**inputs)
            found.field_of_view = torch.full((len(found.predicted_depth),), degrees)
            return found

        net.model.forward = told
        with torch.inference_mode():
            made.append(net(image))

    lens(60.0)
    lens(90.0)
    torch.testing.assert_close(made[0] * 3**0.5, made[1])
    assert made[0].abs().max() > 0.01


def test_a_weight_that_is_never_used_may_be_missing(tmp_path, image):
    """Intel's published folders lack it."""
    tiny_transformers.FOLDERS["dpt_large"](tmp_path)
    before = open_dpt(tmp_path)
    path = tmp_path / "model.safetensors"
    state = read_tensors(path)
    kept = {name: x for name, x in state.items() if not name.startswith(UNUSED)}
    assert len(kept) < len(state)
    save_tensors(path, kept, {})
    with torch.inference_mode():
        assert torch.equal(open_dpt(tmp_path)(image), before(image))
    save_tensors(path, {name: x for name, x in kept.items() if "head.0" not in name}, {})
    with pytest.raises(ControlInputError, match=r"missing, such as head\.head\.0") as caught:
        open_dpt(tmp_path)
    assert caught.value.code == "CN-W08"


def test_older_folders_hold_a_pickle(tmp_path, image):
    tiny_transformers.FOLDERS["dpt_large"](tmp_path)
    with torch.inference_mode():
        expected = open_dpt(tmp_path)(image)
        path = tmp_path / "model.safetensors"
        torch.save(read_tensors(path), tmp_path / "pytorch_model.bin")
        path.unlink()
        assert torch.equal(open_dpt(tmp_path)(image), expected)


def test_a_folder_of_another_model_is_refused(tmp_path):
    tiny_transformers.FOLDERS["dpt_large"](tmp_path)
    with pytest.raises(ControlInputError, match=r"one of a dpt.*expected.*zoedepth"):
        open_zoe(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ControlInputError, match=r"config\.json: found an unreadable one"):
        open_dpt(tmp_path)


def test_nothing_asks_the_net(tmp_path, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    for name, open in (("dpt_hybrid", open_dpt), ("zoedepth", open_zoe),
                       ("depth_pro", open_depth_pro)):
        tiny_transformers.FOLDERS[name](tmp_path / name)
        assert not any(x.is_meta for x in open(tmp_path / name).state_dict().values())


class Ramp(nn.Module):
    """Says that pictures are the farther away, or the nearer, the more to the right."""

    def __init__(self, rises: bool) -> None:
        super().__init__()
        self.rises = rises

    def forward(self, image: Tensor) -> Tensor:
        ramp = torch.linspace(0.5, 9.0, image.shape[-1])
        return (ramp if self.rises else ramp.flip(0)).expand(len(image), 1, *image.shape[-2:])


class Nearer(nn.Module):
    """Says that pictures are the nearer, the brighter they are."""

    def __init__(self, rises: bool) -> None:
        super().__init__()
        self.rises = rises

    def forward(self, image: Tensor) -> Tensor:
        near = 0.1 + image.mean(1, keepdim=True)
        return near if self.rises else 5 - 4 * near


class Stub:
    """Keeps one network for all."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def ready(self, key: Key, open: Callable[[], nn.Module]) -> nn.Module:
        return self.module

    def free_bytes(self, device: torch.device) -> int:
        return 2**30


NEARNESS = ("midas_hybrid", "midas_large", "depth_anything_small", "depth_anything_base",
            "depth_anything_large", "depth_pro")


@pytest.mark.parametrize("model", MODELS)
def test_near_is_white(model, image):
    """Inverse depth that rises to the right, or a distance that falls: white is on the right."""
    use_keeper(Stub(Ramp(rises=model in NEARNESS)))  # _tiny_nets puts it back
    assert_white_on_the_right(depth(image, model=model))


@pytest.mark.parametrize("variant", ["small", "base", "large", "indoor", "outdoor"])
def test_near_is_white_for_depth_anything(variant, image):
    use_keeper(Stub(Ramp(rises=variant not in ("indoor", "outdoor"))))
    assert_white_on_the_right(depth_anything_v2(image, variant=variant))


def assert_white_on_the_right(hint: Tensor) -> None:
    assert (hint.diff(dim=-1) >= -1e-5).all()
    assert hint[..., 0].max() < 1e-5
    assert hint[..., -1].min() > 1 - 1e-5


@pytest.mark.parametrize("model", MODELS)
def test_one_range_for_a_batch_is_that_of_all_chunks(model, image, monkeypatch):
    """Pictures come near one after the other; run one by one or all together."""
    use_keeper(Stub(Nearer(model in NEARNESS)))  # _tiny_nets puts it back
    video = torch.cat([image * 0.2, image * 0.5, image]).clamp(0, 1)
    together = depth(video, model=model, normalise="the whole batch")
    monkeypatch.setattr("controlstack.preprocessors._frame.CHUNK_PIXELS", 1)
    seen: list[int] = []
    apart = depth(video, model=model, normalise="the whole batch",
                  progress=lambda done, _: seen.append(done))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert torch.equal(apart, together)
    assert (together.min(), together.max()) == (0, 1)
    peaks = together.amax((1, 2, 3))
    assert peaks[0] < 0.6  # darker than alone, where it reaches white
    assert depth(video, model=model).amax((1, 2, 3)).tolist() == [1] * 6


@pytest.mark.parametrize("model", ["midas_hybrid", "zoe", "depth_anything_small"])
def test_there_are_more_than_8_bits(model, image):
    assert len(depth(image, model=model).unique()) > 2000
