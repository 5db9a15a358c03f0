"""Transport between samples of whole feature vectors."""

import sys

import numpy as np
import pytest

from deploy.research.features import TaskFeatures
from deploy.research.sample_transport import otdd, sinkhorn_divergence
from federation.errors import ConfigError, DataError

pytest.importorskip("ot")


def task(features, labels, key="a/x"):
    return TaskFeatures(key, np.asarray(features, np.float32), np.asarray(labels, np.int64), None)


def two_blobs(seed, n=20, gap=6.0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(2 * n, 3))
    x[n:, 0] += gap
    return task(x, [0] * n + [1] * n)


def test_otdd_of_a_task_and_itself_is_zero():
    blobs = two_blobs(0)
    assert otdd(blobs, blobs) == pytest.approx(0, abs=1e-9)


def test_otdd_is_symmetric():
    a, b = two_blobs(0), two_blobs(1, n=15, gap=4.0)
    assert otdd(a, b) == pytest.approx(otdd(b, a), rel=1e-9)
    assert otdd(a, b) > 0


def test_otdd_ignores_the_names_of_classes_but_not_which_images_share_one():
    blobs = two_blobs(0)
    renamed = task(blobs.features, 5 - blobs.labels)
    shuffled = task(blobs.features, np.random.default_rng(0).permutation(blobs.labels))
    assert otdd(blobs, renamed) == pytest.approx(0, abs=1e-9)
    assert otdd(blobs, shuffled) > 1


def test_otdd_of_a_shifted_task_is_twice_the_squared_shift():
    blobs = two_blobs(0)
    moved = task(blobs.features + 0.5, blobs.labels)
    # Every image moves by 3 · 0.5², and so does its class.
    assert otdd(blobs, moved) == pytest.approx(2 * 3 * 0.25, rel=1e-5)


def test_otdd_leaves_classes_of_one_image_out_and_refuses_tasks_without_others():
    blobs = two_blobs(0)
    extra = task(np.vstack([blobs.features, [[99.0, 99.0, 99.0]]]), [*blobs.labels, 7])
    assert otdd(blobs, extra) == pytest.approx(0, abs=1e-9)
    with pytest.raises(DataError, match="a/lonely has no class with 2 images"):
        otdd(blobs, task(np.eye(3), [0, 1, 2], "a/lonely"))


def test_sinkhorn_divergence_is_zero_on_itself_and_half_the_squared_shift_otherwise():
    x = np.random.default_rng(0).normal(size=(25, 3))
    assert sinkhorn_divergence(x, x, 0.3) == pytest.approx(0, abs=1e-12)
    assert sinkhorn_divergence(x, x + 0.5, 0.3) == pytest.approx(3 * 0.25 / 2, rel=1e-3)


def test_sinkhorn_divergence_of_two_points_is_their_cost():
    assert sinkhorn_divergence(np.zeros((1, 2)), np.array([[3.0, 4.0]]), 5.0) == pytest.approx(12.5)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ConfigError, match=r"fedprint\[research\]"):
        otdd(two_blobs(0), two_blobs(1))
