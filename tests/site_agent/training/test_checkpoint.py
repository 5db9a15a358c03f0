import torch
from torch import nn

from site_agent.training.checkpoint import CHECKPOINT_FILE, Checkpoint, read_progress


def make_training(steps, seed=0):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 2)).to(
        memory_format=torch.channels_last
    )
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    train(network, optimizer, steps)
    return network, optimizer


def train(network, optimizer, steps):
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        optimizer.zero_grad()
        network(torch.randn(4, 3, 5, 5, generator=generator)).square().sum().backward()
        optimizer.step()


def same_state(one, other):
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_training_goes_on_from_a_checkpoint_as_if_nothing_had_happened(tmp_path):
    network, optimizer = make_training(3)
    Checkpoint.of("step", 1, 0.5, network, optimizer).write(tmp_path, 2)
    other, other_optimizer = make_training(0, seed=9)
    kept = Checkpoint.read(tmp_path, "step")
    kept.restore(other, other_optimizer)
    for pair in ((network, optimizer), (other, other_optimizer)):
        train(*pair, 2)
    assert (kept.epoch, kept.loss) == (1, 0.5)
    assert same_state(network, other)


def test_progress_lies_beside_it(tmp_path):
    assert read_progress(tmp_path) is None
    Checkpoint.of("step", 1, 0.5, *make_training(1)).write(tmp_path, 4)
    assert read_progress(tmp_path).share == 0.25


def test_a_damaged_checkpoint_counts_as_none(tmp_path):
    Checkpoint.of("step", 1, None, *make_training(1)).write(tmp_path, 2)
    path = tmp_path / CHECKPOINT_FILE
    whole = path.read_bytes()
    for damaged in (whole[:-3], whole[:-1] + bytes([whole[-1] ^ 1]), b"", b"\x80\x04K\x01."):
        path.write_bytes(damaged)
        assert Checkpoint.read(tmp_path, "step") is None


def test_another_step_s_checkpoint_counts_as_none(tmp_path):
    Checkpoint.of("step", 1, None, *make_training(1)).write(tmp_path, 2)
    assert Checkpoint.read(tmp_path, "other") is None
    assert Checkpoint.read(tmp_path / "empty", "step") is None
