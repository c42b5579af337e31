"""The checker: it finds what is there, and says so when something is missing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from controlstack.controlnet_core.playground.annotator import Annotator, Found, Reading
from controlstack.controlnet_core.playground.drawing import draw
from controlstack.controlnet_core.playground.scenes import Scene, random_scene
from controlstack.controlnet_core.playground.train.check import seen
from controlstack.controlnet_core.playground.words import COLOURS, GROUNDS, SHAPES


def truth(scene: Scene) -> Found:
    return Found(scene.named, (scene.ground.pattern, scene.ground.colour))


class Perfect(Annotator):
    """Reads the exact labels of one scene, whatever the picture."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.scene, self.drawing = scene, draw(scene)

    def forward(self, picture: Tensor) -> Reading:
        labels, colours = (
            torch.nn.functional.one_hot(x, count).movedim(-1, 0)[None].float()
            for x, count in (
                (self.drawing.labels, 1 + len(SHAPES)), (self.drawing.colours, len(COLOURS)),
            )
        )  # fmt: skip
        patterns = torch.zeros(1, len(GROUNDS), *self.drawing.labels.shape)
        patterns[:, GROUNDS.index(self.scene.ground.pattern)] = 1.0
        return Reading(self.drawing.depth[None], labels, colours, patterns)


@pytest.mark.parametrize("seed", range(12))
def test_exact_labels_are_read_as_the_scene(seed: int) -> None:
    scene = random_scene(seed)
    assert Perfect(scene).find(torch.zeros(1, 3, 128, 128)) == [truth(scene)]


def test_a_few_stray_pixels_are_no_solid() -> None:
    scene = random_scene(1)
    perfect = Perfect(scene)
    perfect.drawing.labels[0, :20] = 1
    assert perfect.find(torch.zeros(1, 3, 128, 128)) == [truth(scene)]
    assert perfect.find(torch.zeros(1, 3, 128, 128), least=10) != [truth(scene)]


def test_shares_count_what_is_missing() -> None:
    scenes = [random_scene(seed) for seed in range(4)]
    found = [truth(scene) for scene in scenes]
    assert vars(seen(scenes, found)) == dict.fromkeys(vars(seen(scenes, found)), 1.0)
    other = "red" if scenes[0].ground.colour != "red" else "blue"
    found[0] = found[0]._replace(ground=(scenes[0].ground.pattern, other))
    found[1] = found[1]._replace(solids=frozenset(list(found[1].solids)[1:]))
    shares = seen(scenes, found)
    assert (shares.prompted, shares.alone, shares.solids, shares.grounds) == (0.5, 0.5, 0.75, 0.75)
    assert shares.shapes <= 1.0
    assert shares.colours == 0.75


def test_more_than_was_asked_for_is_told_apart() -> None:
    scene = random_scene(0)
    spare = next(c for c in COLOURS if c not in {s.colour for s in scene.solids})
    more = truth(scene).solids | {(spare, SHAPES[0])}
    shares = seen([scene], [truth(scene)._replace(solids=more)])
    assert (shares.prompted, shares.alone, shares.solids) == (1.0, 0.0, 1.0)


def test_a_shape_in_the_wrong_colour_is_not_found() -> None:
    scene = random_scene(0)
    (colour, shape), *rest = sorted(truth(scene).solids)
    wrong = next(c for c in COLOURS if c not in {s.colour for s in scene.solids})
    shares = seen([scene], [truth(scene)._replace(solids=frozenset([(wrong, shape), *rest]))])
    assert (shares.solids, shares.shapes, shares.grounds) == (0.0, 1.0, 1.0)
    assert colour != wrong


def test_exchanged_colours_have_every_word_and_are_not_what_was_prompted() -> None:
    scene = next(
        scene for scene in map(random_scene, range(20))
        if len({shape for _, shape in scene.named}) == len(scene.solids) == 2
    )  # fmt: skip
    (first, box), (second, ball) = sorted(scene.named)
    found = truth(scene)._replace(solids=frozenset([(second, box), (first, ball)]))
    shares = seen([scene], [found])
    assert (shares.words, shares.prompted) == (1.0, 0.0)
