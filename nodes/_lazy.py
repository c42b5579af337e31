"""A control dict whose net runs when the model reads it, and not at all when it does not.

Hosts ask a control for its residuals before they call the model. A step cache (EasyCache and its
like) may then skip the model; the residuals would have been computed for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView

from torch import Tensor

from ._layout import ControlDict

Entry = list[Tensor | None]


class LazyControl(dict[str, Entry]):
    """The dict that `make` returns, made at the first reading; it serves one model call.

    `make` holds on to the step's tensors until then, and is let go afterwards.
    """

    def __init__(self, make: Callable[[], ControlDict]) -> None:
        super().__init__()
        self._make: Callable[[], ControlDict] | None = make

    def _made(self) -> LazyControl:
        if (make := self._make) is not None:
            self._make = None
            super().update(make())
        return self

    def __getitem__(self, key: str) -> Entry:
        return dict.__getitem__(self._made(), key)

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self._made(), key)

    def __iter__(self) -> Iterator[str]:
        return dict.__iter__(self._made())

    def __len__(self) -> int:
        return dict.__len__(self._made())

    def __bool__(self) -> bool:
        return True  # never empty, and asking must not run the net

    def get(self, key: str, default: Entry | None = None) -> Entry | None:  # type: ignore[override]
        return dict.get(self._made(), key, default)

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        return dict.keys(self._made())

    def values(self) -> ValuesView[Entry]:  # type: ignore[override]
        return dict.values(self._made())

    def items(self) -> ItemsView[str, Entry]:  # type: ignore[override]
        return dict.items(self._made())

    def copy(self) -> ControlDict:
        return dict(self.items())
