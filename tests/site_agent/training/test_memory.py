import pytest
import torch
from learnable_tasks import train_step

from federation.errors import MemoryShortError
from federation.transfer.recipe import Network, PrivateTraining
from site_agent.training import memory
from site_agent.training.memory import free_bytes, needed_bytes, reported_shortage, require_memory

CPU = torch.device("cpu")


def needed(**recipe):
    return needed_bytes(train_step(network=Network(name="resnet18", image_size=64), recipe=recipe))


def test_the_weights_of_a_network_count_four_times():
    head = needed(trainable="head")
    assert 11e6 * 4 < head < 14e6 * 4
    assert needed(batch_size=2) > 4 * head


def test_activations_grow_with_batch_and_image():
    one = needed(batch_size=34) - needed(batch_size=2)
    # Convolutions of ResNet-18 put out 2.5 million numbers at 224 px (Radosavovic et al. 2020), a twelfth of
    # it at 64 px; normalisation keeps what it gets, activation what it gives.
    assert one == pytest.approx(32 * 1.1 * 2 * 4 * 2.5e6 / 12.25, rel=0.2)
    larger = train_step(network=Network(name="resnet18", image_size=128), recipe={"batch_size": 34})
    smaller = train_step(network=Network(name="resnet18", image_size=128), recipe={"batch_size": 2})
    assert (needed_bytes(larger) - needed_bytes(smaller)) / one == pytest.approx(4, rel=0.05)


def test_gradients_of_a_few_single_images_count_however_large_the_batch():
    private = PrivateTraining(noise_multiplier=1.0)
    one, other = (needed(private=private, batch_size=size) for size in (2, 64))
    assert one == other
    assert one > needed(batch_size=2) + 2 * 11e6 * 4


def test_what_does_not_fit_is_refused_before_it_is_loaded(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**20)
    with pytest.raises(
        MemoryShortError, match=r"test_resnet at 32 px with batches of 16 takes about \d+ MiB, 1 MiB"
    ):
        require_memory(train_step(), CPU)


def test_a_giant_is_refused_within_the_memory_of_a_dwarf(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**30)
    with pytest.raises(MemoryShortError):
        require_memory(train_step(network=Network(name="vit_giant_patch14_224", image_size=224)), CPU)


def test_where_nobody_knows_what_is_free_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: None)
    require_memory(train_step(), CPU)


def test_this_machine_has_memory():
    assert free_bytes(CPU) is None or free_bytes(CPU) > 0


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_has_one_error(error):
    with pytest.raises(MemoryShortError, match="memory ran out"), reported_shortage(train_step()):
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"), reported_shortage(train_step()):
        raise RuntimeError("shapes differ")
