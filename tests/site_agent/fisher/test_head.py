import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from federation.errors import DataError
from site_agent.fisher.head import LinearHead


def blobs(n=300, n_classes=3, distance=1.0, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, n_classes, n)
    centres = random.normal(0, distance, (n_classes, 8))
    return (centres[labels] + random.normal(0, 1, (n, 8)) + 5).astype(np.float32), labels


def objective_slope(head, x, y, decay):
    """Gradient of balanced mean loss + decay/2 ‖W‖² on features centred and scaled by one number."""
    mean, spread = x.mean(axis=0), np.sqrt(x.var(axis=0).mean())
    standard, weights = (x - mean) / spread, head.weights * spread
    weight = (len(y) / (len(head.counts) * head.counts))[y]
    residual = np.exp(head.log_probabilities(x)) - np.eye(len(head.counts))[y]
    return (weight[:, None] * residual).T @ standard / len(y) + decay * weights


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_the_fit_is_the_optimum_of_the_balanced_and_decayed_loss(n_classes):
    x, y = blobs(n_classes=n_classes)
    if n_classes == 2:
        # The library holds one weight vector for two classes, so that its decay is that of their difference.
        head = LinearHead.fit(x, y, 0.01)
        np.testing.assert_allclose(head.weights[0], -head.weights[1])
    else:
        head = LinearHead.fit(x, y, 0.01)
        assert np.abs(objective_slope(head, x.astype(np.float64), y, 0.01)).max() < 1e-4


def test_two_classes_agree_with_the_librarys_probabilities():
    x, y = blobs(n_classes=2)
    mean, spread = x.astype(np.float64).mean(axis=0), np.sqrt(x.astype(np.float64).var(axis=0).mean())
    model = LogisticRegression(C=1 / (0.01 * len(x)), class_weight="balanced", tol=1e-8)
    expected = model.fit((x - mean) / spread, y).predict_log_proba((x - mean) / spread)
    np.testing.assert_allclose(LinearHead.fit(x, y, 0.01).log_probabilities(x), expected, atol=1e-4)


def test_separable_classes_converge_to_finite_confidence():
    x, y = blobs(distance=50.0)
    head = LinearHead.fit(x, y, 0.01)
    p = np.exp(head.log_probabilities(x))
    assert (p.argmax(axis=1) == y).all()
    assert p.max() < 1 - 1e-6
    assert np.abs(objective_slope(head, x.astype(np.float64), y, 0.01)).max() < 1e-4


def test_a_rare_class_counts_as_much_as_a_common_one():
    x, y = blobs(n_classes=2, distance=0.3)
    rare = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:15]])
    predicted = LinearHead.fit(x[rare], y[rare], 0.1).log_probabilities(x).argmax(axis=1)
    assert 0.3 < predicted.mean() < 0.7


def test_the_unit_and_origin_of_features_do_not_matter():
    x, y = blobs()
    a = LinearHead.fit(x, y, 0.01).log_probabilities(x)
    b = LinearHead.fit(64 * x + 128, y, 0.01).log_probabilities(64 * x + 128)
    np.testing.assert_allclose(a, b, atol=1e-3)


def test_constant_features_leave_all_classes_equally_likely():
    head = LinearHead.fit(np.ones((6, 4), np.float32), np.array([0, 0, 0, 0, 1, 1]), 0.01)
    np.testing.assert_allclose(np.exp(head.log_probabilities(np.ones((1, 4), np.float32))), 0.5, atol=1e-6)


def test_labels_need_not_be_consecutive():
    x, y = blobs()
    wide = np.array([2, 5, 9])[y]
    head = LinearHead.fit(x, wide, 0.01)
    np.testing.assert_array_equal(head.classes, [2, 5, 9])
    np.testing.assert_array_equal(head.rows(wide), y)
    np.testing.assert_array_equal(head.weights, LinearHead.fit(x, y, 0.01).weights)
    assert (head.balance * head.counts).sum() == pytest.approx(len(y))


def test_the_fit_is_the_same_every_time():
    x, y = blobs()
    first, again = LinearHead.fit(x, y, 0.01), LinearHead.fit(x, y, 0.01)
    assert first.weights.tobytes() == again.weights.tobytes()
    assert first.biases.tobytes() == again.biases.tobytes()


def test_one_class_is_refused():
    with pytest.raises(DataError, match="one class"):
        LinearHead.fit(np.ones((4, 2), np.float32), np.zeros(4, int), 0.01)


def test_several_labels_per_image_are_refused():
    with pytest.raises(DataError, match="exactly one class per image"):
        LinearHead.fit(np.ones((4, 2), np.float32), np.eye(4, dtype=int), 0.01)
