"""Progress in the graph, with an ear for the stop button."""

from __future__ import annotations

import comfy.utils
from comfy.model_management import throw_exception_if_processing_interrupted

from ..preprocessors import Progress


def progress_of(count: int) -> Progress:
    """To be told (done, in all) of `count` pictures; raises when the user has stopped the graph."""
    bar = comfy.utils.ProgressBar(count)

    def progress(done: int, total: int) -> None:
        throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return progress
