"""Pictures and the one way in which contract tests call a preprocessor."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from controlstack.preprocessors import Preprocessor

Run = Callable[..., Tensor]


def half_mask(count: int = 1) -> Tensor:
    """(count 1 8 6), white on the left half."""
    return (torch.arange(6) < 3).float().expand(count, 1, 8, 6)


@pytest.fixture
def pictures() -> Tensor:
    """(4 3 40 57): unlike in level and contrast, so that statistics over a batch would show."""
    noise = torch.rand(4, 3, 40, 57, generator=torch.Generator().manual_seed(0))
    disc = (torch.arange(40)[:, None] - 20) ** 2 + (torch.arange(57) - 28) ** 2 < 150
    return torch.stack([
        0.05 + 0.05 * noise[0],
        noise[1],
        torch.where(disc, 0.9, 0.1) + 0.02 * noise[2],
        0.8 + 0.2 * torch.linspace(0, 1, 57).expand(3, 40, 57),
    ])


@pytest.fixture
def run() -> Run:
    """Calls a preprocessor, with a mask where it needs one."""

    def call(preprocessor: Preprocessor, image: Tensor, **options: object) -> Tensor:
        mask = half_mask().to(image.device) if preprocessor.needs_mask else None
        return preprocessor(image, mask, **options)

    return call


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a child process that finds this checkout as `controlstack`."""
    folder = tmp_path_factory.mktemp("path")
    (folder / "controlstack").symlink_to(Path(__file__).parents[2], target_is_directory=True)
    return {**os.environ, "PYTHONPATH": str(folder)}
