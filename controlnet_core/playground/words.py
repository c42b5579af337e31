"""The words that the playground understands, and their numbers for its text encoder."""

from __future__ import annotations

import re

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (208, 38, 44), "orange": (245, 130, 20), "yellow": (250, 212, 60),
    "green": (46, 145, 66), "blue": (36, 92, 200), "purple": (128, 58, 170),
    "white": (240, 240, 236), "black": (36, 36, 40),
}  # fmt: skip
"""8-bit RGB of each colour in full light."""
SHAPES = ("ball", "box", "cone", "star", "ring", "cross")
GROUNDS = ("plain", "striped", "checkered", "dotted")

_JOINING = ("a", "an", "and", "on", "ground", "left", "right", "of", "above", "below")
END, START, UNKNOWN = 0, 1, 2
"""Tokens that are no word: the end, which also fills what is left; the start; a strange word."""
VOCABULARY = ("<end>", "<start>", "<unknown>", *_JOINING, *COLOURS, *SHAPES, *GROUNDS)
LENGTH = 24
"""Tokens of a prompt, start and end included."""
_NUMBERS = {word: number for number, word in enumerate(VOCABULARY)}


def split(prompt: str) -> list[str]:
    """The words of a prompt in lower case, without punctuation."""
    return re.findall(r"[a-z]+", prompt.lower())


def tokens(prompt: str) -> list[int]:
    """The numbers (24) of a prompt's words between start and end; words too many are cut off."""
    words = numbers(prompt)[: LENGTH - 2]
    return [START, *words, *[END] * (LENGTH - 1 - len(words))]


def numbers(prompt: str) -> list[int]:
    """The number of each word of a prompt, UNKNOWN for a strange one."""
    return [_NUMBERS.get(word, UNKNOWN) for word in split(prompt)]


def strange_words(prompt: str) -> list[str]:
    """The words of `prompt` that the playground does not know, in their order."""
    return [word for word in split(prompt) if word not in _NUMBERS]
