import numpy as np
import pytest

from federation.container import pack, unpack
from federation.errors import FingerprintError


def test_header_and_arrays_round_trip():
    arrays = {"b": np.arange(6, dtype=np.int64).reshape(2, 3), "a": np.array([0.5])}
    header, read = unpack(pack({"x": [1, "ü"]}, arrays), "thing")
    assert header == {"x": [1, "ü"]}
    assert {name: array.tolist() for name, array in read.items()} == {"a": [0.5], "b": [[0, 1, 2], [3, 4, 5]]}


def test_the_order_of_keys_does_not_change_the_bytes():
    a, b = np.zeros(1), np.ones(2, dtype=np.int32)
    assert pack({"x": 1, "y": 2}, {"a": a, "b": b}) == pack({"y": 2, "x": 1}, {"b": b, "a": a})


def test_trailing_bytes_are_refused():
    with pytest.raises(FingerprintError, match="thing"):
        unpack(pack({}, {"a": np.zeros(1)}) + b"\0", "thing")
