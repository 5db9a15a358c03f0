import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from federation.errors import TrainingError
from site_agent.training.metrics import auroc, scored


def make_figures(n=300, n_classes=4, seed=0, signal=1.0):
    random = np.random.default_rng(seed)
    labels = random.choice(n_classes, n, p=np.arange(1, n_classes + 1) / sum(range(n_classes + 1)))
    logits = random.normal(size=(n, n_classes)) + signal * np.eye(n_classes)[labels]
    return logits.astype(np.float32), labels


def softmax(logits):
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("n_classes", [3, 4, 7])
def test_metrics_of_many_classes_are_those_of_scikit_learn(n_classes):
    logits, labels = make_figures(n_classes=n_classes)
    found = scored(logits, labels, np.arange(len(labels)), 0)
    shares = softmax(logits)
    expected = roc_auc_score(labels, shares, multi_class="ovr", average="weighted")
    assert found["auroc"].value == pytest.approx(expected, abs=1e-12)
    assert found["ba"].value == pytest.approx(balanced_accuracy_score(labels, shares.argmax(1)), abs=1e-12)
    assert found["ce"].value == pytest.approx(log_loss(labels, shares), abs=1e-12)


def test_metrics_of_two_classes_are_those_of_scikit_learn():
    logits, labels = make_figures(n_classes=2)
    found = scored(logits, labels, np.arange(len(labels)), 0)
    assert found["auroc"].value == pytest.approx(roc_auc_score(labels, softmax(logits)[:, 1]), abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3)), min_size=2, max_size=30))
def test_ties_count_half_as_in_scikit_learn(drawn):
    labels, levels = (np.array(part) for part in zip(*drawn, strict=True))
    if len(set(labels.tolist())) == 2:
        shares = np.stack([1 - levels / 4, levels / 4], axis=1)
        assert auroc(shares, labels) == pytest.approx(roc_auc_score(labels, levels), abs=1e-12)


def test_classes_that_do_not_occur_do_not_count():
    logits, labels = make_figures(n_classes=4)
    present = labels != 3
    shares = softmax(logits[present])
    areas = [roc_auc_score(labels[present] == c, shares[:, c]) for c in range(3)]
    expected = np.average(areas, weights=np.bincount(labels[present]))
    found = scored(logits[present], labels[present], np.arange(int(present.sum())), 0)
    assert found["auroc"].value == pytest.approx(expected, abs=1e-12)


def test_a_perfect_and_a_reversed_order_have_areas_one_and_zero():
    labels = np.array([0, 0, 1, 1])
    logits = np.array([[2, 0], [1, 0], [0, 1], [0, 2]], np.float32)
    assert scored(logits, labels, np.arange(4), 0)["auroc"].value == 1
    assert scored(-logits, labels, np.arange(4), 0)["auroc"].value == 0


def test_intervals_hold_the_value_and_narrow_with_more_images():
    widths = []
    for n in (100, 1600):
        logits, labels = make_figures(n)
        score = scored(logits, labels, np.arange(n), 0)["auroc"]
        assert score.low < score.value < score.high
        widths.append(score.high - score.low)
    assert 2.5 < widths[0] / widths[1] < 6.5


def test_images_of_one_patient_are_drawn_together():
    logits, labels = make_figures(400)
    alone = scored(logits, labels, np.arange(400), 0)["ce"]
    nine_times = (np.repeat(part, 9, axis=0) for part in (logits, labels, np.arange(400)))
    together = scored(*nine_times, 0)["ce"]
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=1e-9)


def test_a_resample_without_a_class_does_without_it():
    logits, labels = make_figures(200, n_classes=2)
    labels = np.where(np.arange(200) == 0, 1, 0)
    score = scored(logits, labels, np.arange(200), 0)["auroc"]
    assert 0 <= score.low <= score.high <= 1


def test_the_same_seed_gives_the_same_interval():
    logits, labels = make_figures()
    first, other, again = (scored(logits, labels, np.arange(300), seed) for seed in (0, 1, 0))
    assert first == again
    assert first["ce"].low != other["ce"].low


def test_one_class_is_refused():
    with pytest.raises(TrainingError, match="one class in a split"):
        scored(np.zeros((5, 2), np.float32), np.zeros(5, np.int64), np.arange(5), 0)


def test_figures_that_are_not_finite_are_refused():
    logits, labels = make_figures()
    logits[3, 1] = np.nan
    with pytest.raises(TrainingError, match="not finite"):
        scored(logits, labels, np.arange(300), 0)
