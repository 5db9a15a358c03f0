import pytest
import torch
from torch import nn

from federation.errors import TransferError
from site_agent.training.chance import DrawsFrom, torch_chance
from site_agent.training.streams import stream_seed


def test_streams_of_different_names_differ():
    names = [(0, "order"), (1, "order"), (0, "order", 0), ("0", "orde", "r")]
    assert len({stream_seed(*name) for name in names}) == len(names)


def test_a_network_gets_the_numbers_of_its_library_and_the_global_generator_does_not_move():
    torch.manual_seed(stream_seed("x"))
    expected = [nn.Linear(4, 3).weight, torch.randn(2, 2)]
    before = torch.get_rng_state()
    with DrawsFrom(torch_chance("x")):
        found = [nn.Linear(4, 3).weight, torch.randn(2, 2)]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_draw_that_takes_no_generator_is_refused():
    with pytest.raises(TransferError, match="takes no generator"), DrawsFrom(torch_chance("x")):
        torch.native_dropout(torch.ones(3), 0.5, True)
