"""A patient who comes or goes moves one sum, by no more than the clip norm, and nobody else's part in it."""

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from private_training import CPU, Vectors, small_head, small_resnet, source_of
from torch import nn

from federation.errors import TrainingError
from site_agent.training.chance import torch_chance
from site_agent.training.normalization import with_normalization
from site_agent.training.private_gradients import PatientGradients
from site_agent.training.private_network import keeping_gradients_per_image
from site_agent.training.private_patients import batches_of_patients

UNITS = 2**20
CONSORTIUM = {f"p{n}": 1 + n % 3 for n in range(14)} | {"": 3}


def sums(network, examples, *, k=2, n_batches=3, clip=0.5, epoch=0):
    """The sum of every batch as one int64 vector."""
    batches = batches_of_patients(examples.source, k, n_batches, 0, epoch)
    with keeping_gradients_per_image(network) as wrapped:
        gradients = PatientGradients(wrapped, k, clip, UNITS)
        totals = [gradients.total(patients, examples, CPU) for patients in batches]
    return [torch.cat([part.flatten() for part in total]).numpy() for total in totals]


def lengths_of_change(network, make, smaller, larger, **how):
    before, after = sums(network, make(smaller), **how), sums(network, make(larger), **how)
    return [np.linalg.norm((b - a).astype(np.float64)) for b, a in zip(before, after, strict=True)]


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
@pytest.mark.parametrize("gone", ["p0", "p5", "p13"])
def test_a_patient_changes_one_batch_of_a_real_network_by_at_most_the_clip_norm(name, gone):
    rest = {patient: k for patient, k in CONSORTIUM.items() if patient != gone}

    def images(who):
        return Vectors(source_of(who), shape=(3, 32, 32))

    changes = lengths_of_change(small_resnet(name), images, rest, CONSORTIUM)
    assert sum(change > 0 for change in changes) == 1
    assert max(changes) <= UNITS


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(1, 4), min_size=1, max_size=9),
    st.floats(1e-6, 1e6),
    st.floats(1e-3, 1e3),
    st.integers(1, 3),
    st.data(),
)
def test_no_patient_ever_moves_more_than_one_sum_by_more_than_the_clip_norm(who, scale, clip, k, data):
    gone = data.draw(st.sampled_from(sorted(who)))
    rest = {patient: n for patient, n in who.items() if patient != gone}

    def rows(these):
        return Vectors(source_of(these), scale=scale)

    changes = lengths_of_change(small_head(), rows, rest, who, k=k, clip=clip)
    assert sum(change > 0 for change in changes) <= 1
    assert max(changes) <= UNITS


def test_a_large_gradient_is_shortened_to_the_clip_norm_and_a_small_one_is_not():
    network = small_head()
    (large,) = sums(network, Vectors(source_of({"a": 1}), scale=100.0), n_batches=1, clip=0.01)
    assert np.linalg.norm(large.astype(float)) == pytest.approx(UNITS, rel=1e-4)
    (small,) = sums(network, Vectors(source_of({"a": 1})), n_batches=1, clip=100.0)
    assert np.linalg.norm(small.astype(float)) < UNITS / 10


def test_the_part_of_a_patient_is_the_gradient_that_autograd_finds():
    network, examples = small_head(), Vectors(source_of({"a": 2}))
    (patient,) = batches_of_patients(examples.source, 2, 1, 0, 0)[0]
    (found,) = sums(network, examples, n_batches=1, clip=1000.0)
    positions = np.array(patient.images)
    x = examples.inputs(positions, torch_chance(patient.stream))
    loss = nn.functional.cross_entropy(network(x), examples.targets(positions, CPU), reduction="sum")
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, tuple(network.parameters()))])
    np.testing.assert_allclose(found * (1000.0 / UNITS), expected, atol=2e-3)


NETWORKS = ["test_resnet", "resnet18", "test_efficientnet", "mobilenetv3_small_050", "ghostnet_100"]


@pytest.mark.parametrize("kind", ["frozen", "group"])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_standard_networks_are_those_of_autograd(name, kind):
    """Networks that write over a layer's output among them."""
    torch.manual_seed(0)
    network = with_normalization(timm.create_model(name, num_classes=2), kind).eval()
    x = torch.randn(2, 3, 32, 32)
    y = torch.tensor([0, 1])
    loss = nn.functional.cross_entropy(network(x), y, reduction="sum")
    expected = torch.autograd.grad(loss, [p for p in network.parameters() if p.requires_grad])
    with keeping_gradients_per_image(network) as wrapped:
        nn.functional.cross_entropy(wrapped(x), y, reduction="sum").backward()
        found = [p.grad_sample.sum(0) for p in network.parameters() if p.requires_grad]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


class Poisoned(Vectors):
    def _row(self, name):
        return super()._row(name) * (float("nan") if name.startswith("bad") else 1.0)


def test_a_gradient_that_is_no_number_counts_as_nothing():
    with_it = sums(small_head(), Poisoned(source_of({"a": 1, "bad": 2, "c": 1})))
    without = sums(small_head(), Poisoned(source_of({"a": 1, "c": 1})))
    assert all(np.array_equal(a, b) for a, b in zip(with_it, without, strict=True))


class Mingling(nn.Module):
    """Adds the mean over the batch, as no honest layer would."""

    def forward(self, x):
        return x + x.mean(dim=0, keepdim=True)


def test_where_company_matters_every_patient_is_shown_alone():
    network = nn.Sequential(Mingling(), *small_head())
    who = {f"p{n}": 1 for n in range(6)}
    changes = lengths_of_change(
        network, lambda these: Vectors(source_of(these)), {p: 1 for p in who if p != "p3"}, who, k=1
    )
    assert sum(change > 0 for change in changes) == 1


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_layers_that_keep_statistics_of_batches_are_refused_also_under_other_names(name):
    with pytest.raises(TrainingError, match="looks at all images of a batch"):
        sums(timm.create_model(name, num_classes=2), Vectors(source_of({"a": 1}), shape=(3, 32, 32)))


def test_the_network_is_left_as_it_was_found():
    network = small_head()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    sums(network, Vectors(source_of({"a": 2, "b": 1})))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(hasattr(p, "grad_sample") for p in network.parameters())
    assert not any(layer._forward_hooks for layer in network.modules())
