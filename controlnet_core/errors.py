"""The one error a user meets: what was found, what was expected, what to do."""

from __future__ import annotations


class ControlInputError(ValueError):
    """Bad input, told in three parts, so that a user can act on it without reading code.

    `code` is stable and documented in docs/errors.md; `where` names the file (relative to the
    models folder) or the node and its input; `fix` is one thing to do.
    """

    def __init__(self, code: str, where: str, *, found: str, expected: str, fix: str) -> None:
        self.code, self.where = code, where
        self.found, self.expected, self.fix = found, expected, fix
        super().__init__(f"[{code}] {where}: found {found}; expected {expected}. To do: {fix}.")

    def at(self, where: str) -> ControlInputError:
        """The same error, told of another place: the file or node that only the caller knows."""
        return type(self)(self.code, where, found=self.found, expected=self.expected, fix=self.fix)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.code, self.where, self.found, self.expected, self.fix)


def _rebuild(
    kind: type[ControlInputError], code: str, where: str, found: str, expected: str, fix: str
) -> ControlInputError:
    return kind(code, where, found=found, expected=expected, fix=fix)
