"""What every pair gained, and what scenarios brought on average."""

import numpy as np
import pytest
from transfer_findings import addresses, consortium, failed, finding, findings, without

from aggregator.study import Setting
from aggregator.transfer.report.gains import matrices, starts, summaries
from aggregator.transfer.report.measured import comparable, pair_gains, with_outcomes

A, B, C = addresses(3)


def test_a_pair_gains_the_mean_over_its_seeds():
    found = [finding(A, B, 0.8, 0.7, seed=0), finding(A, B, 0.7, 0.6, seed=1)]
    by_metric = {each.metric: each for each in pair_gains(found)}
    auroc, loss = by_metric["auroc"], by_metric["ce"]
    assert (auroc.n_seeds, auroc.value, auroc.baseline) == (2, 0.75, pytest.approx(0.65))
    assert auroc.gain == pytest.approx(0.1)
    assert auroc.relative == pytest.approx((0.1 / 0.7 + 0.1 / 0.6) / 2)
    # Of a cross-entropy, less is better: it fell from .3 to .2 and from .4 to .3.
    assert loss.gain == pytest.approx(0.1)
    assert loss.relative == pytest.approx((0.1 / 0.3 + 0.1 / 0.4) / 2)


def test_relative_loss_is_cross_entropy_after_over_before():
    found = summaries([finding(A, B, 0.85, 0.7), finding(B, A, 0.85, 0.7)])
    losses = {each.metric: each.relative_loss for each in found}
    assert losses["ce"] == pytest.approx(0.15 / 0.3)
    assert np.isnan(losses["auroc"])


def test_a_summary_weighs_targets_alike_however_many_sources_they_have():
    found = [finding(A, B, 0.8), finding(C, B, 0.6), finding(A, C, 0.8)]
    auroc = next(each for each in summaries(found) if each.metric == "auroc")
    assert (auroc.n_pairs, auroc.n_targets) == (3, 2)
    assert auroc.gain[0] == pytest.approx(0.05)
    assert auroc.gained[0] == pytest.approx(0.75)
    assert auroc.harmed[0] == pytest.approx(0.25)
    low, high = auroc.gain[1]
    assert low == pytest.approx(0.0)
    assert high == pytest.approx(0.1)


def test_a_failed_experiment_is_no_measurement():
    assert pair_gains([failed(A, B, "training at site0")]) == []


def test_published_weights_are_compared_with_random_ones_seed_by_seed():
    found = [without(A, 0.8), without(A, 0.7, "scratch"), without(B, 0.6), without(B, 0.7, "scratch")]
    (auroc,) = starts([*found, without(C, 0.9)])
    assert (auroc.n_targets, auroc.better) == (2, 0.5)
    assert auroc.gain[0] == pytest.approx(0.0)
    assert auroc.imagenet == pytest.approx(0.7)


def test_gains_over_another_start_are_told_where_it_differs_from_the_baseline():
    found = [finding(A, B, 0.8, 0.7), without(B, 0.7), without(B, 0.6, "scratch")]
    against = {each.against: each.gain[0] for each in summaries(found) if each.metric == "auroc"}
    assert against == {"no transfer": pytest.approx(0.1), "scratch": pytest.approx(0.2)}


def test_the_matrix_names_rows_after_sources_and_leaves_open_what_was_not_measured():
    (found,) = matrices(pair_gains([finding(A, C, 0.8), finding(B, A, 0.6)]), "auroc")
    assert (found.sources, found.targets) == ((A, B), (A, C))
    np.testing.assert_allclose(found.gain, [[np.nan, 0.1], [-0.1, np.nan]], atol=1e-12)


def test_targets_of_another_size_are_left_out_and_that_is_said():
    found = [finding(A, B, 0.8, n_train=50), finding(B, A, 0.8, n_train=50), finding(A, C, 0.8, n_train=500)]
    kept, notes = comparable(found)
    assert {each.experiment.target for each in kept} == {A, B}
    assert "1 experiments" in notes[0]
    assert "50 training images" in notes[0]


def test_findings_become_outcomes_of_the_study_without_the_cross_entropy():
    gain = np.full((3, 3), 0.1)
    study, notes = with_outcomes(consortium(3).study, findings(gain, (A, B, C)))
    assert list(study.outcomes) == [Setting("pretraining", "auroc")]
    assert notes == []
    outcomes = study.outcomes[Setting("pretraining", "auroc")]
    np.testing.assert_allclose(outcomes.performance[0, 1], 0.8, atol=1e-6)
    np.testing.assert_allclose(outcomes.mean_baseline, 0.7, atol=1e-6)


def test_tasks_that_left_the_catalogue_are_named():
    _, notes = with_outcomes(consortium(3).study, [finding("oslo/x", A, 0.8)])
    assert "oslo/x" in notes[0]


def test_a_common_training_of_three_is_no_outcome_of_one_source():
    study, notes = with_outcomes(consortium(3).study, [finding(f"{A} + {B}", C, 0.8, scenario="co_training")])
    assert study.outcomes == {}
    assert "no single source" in notes[0]


def test_a_pair_that_lacks_a_seed_is_compared_on_those_that_it_has():
    measured = [
        finding(A, B, 0.6, 0.5, seed=0),
        finding(C, B, 0.6, 0.5, seed=0),
        finding(C, B, 1.0, 0.9, seed=1),
    ]
    study, _ = with_outcomes(consortium(3).study, measured)
    gain = study.outcomes[Setting("pretraining", "auroc")].gain
    assert gain[study.index[A], study.index[B]] == pytest.approx(0.1)
    assert gain[study.index[C], study.index[B]] == pytest.approx(0.1)
