"""How far a sketch moved, held against how far it says that one patient can move it."""

import numpy as np

from federation.sketches import Sketch


def moves(before: Sketch, after: Sketch) -> dict[str, tuple[int, int]]:
    """Return array → L1 distance and squared L2 distance, in exact integers."""
    theirs = before.arrays()
    steps = {name: (array - theirs[name]).ravel().tolist() for name, array in after.arrays().items()}
    return {name: (sum(map(abs, step)), sum(x * x for x in step)) for name, step in steps.items()}


def assert_within(before: Sketch, after: Sketch, images_per_patient: int) -> None:
    """Assert that no array moved further than declared."""
    bounds = before.sensitivity(images_per_patient)
    assert set(bounds) == set(before.shares) == set(before.arrays())
    for name, (l1, l2_squared) in moves(before, after).items():
        assert l1 <= bounds[name].l1
        assert l2_squared <= bounds[name].l2_squared


def assert_reached(sketch: Sketch, spike: Sketch, even: Sketch, array: str) -> None:
    """Assert that one image reaches the declared L2 (``spike``) and another the L1 (``even``)."""
    bound = sketch.sensitivity(1)[array]
    np.testing.assert_allclose(float(moves(sketch, spike)[array][1]), float(bound.l2_squared), rtol=3e-4)
    np.testing.assert_allclose(float(moves(sketch, even)[array][0]), float(bound.l1), rtol=3e-4)
