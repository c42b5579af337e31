"""What the world calls the parts of an example: folders, fields, columns and members of archives.

Sources: fill50k and ControlNet's own tutorial (source, target, prompt), the ControlNet scripts of
diffusers (image, conditioning_image, text), kohya-ss (folders of equal base names), musubi-tuner
(image_path, control_path, caption), Hugging Face's ImageFolder (file_name). Where two of them stand
in one dataset, the first in these tuples counts.
"""

from __future__ import annotations

from collections.abc import Collection

IMAGE = ("image", "images", "image_path", "file_name", "target", "targets")
HINT = (
    "conditioning_image", "conditioning_images", "conditioning", "control_path", "control_image",
    "control", "controls", "hint", "hints", "source", "sources",
)  # fmt: skip
CAPTION = ("text", "txt", "caption", "prompt")


def first_of(words: tuple[str, ...], names: Collection[str]) -> str | None:
    """The first of `words` that is among `names`."""
    return next((word for word in words if word in names), None)
