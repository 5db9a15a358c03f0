"""Messages of a round read back what was said, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import MessageError
from federation.secagg.messages import (
    Advertisement,
    Confirmation,
    Confirmations,
    Directory,
    MaskedInput,
    Sealed,
    Survivors,
    Unmasking,
)

NAMES = st.text("abc0", min_size=1, max_size=3)


def _bytes(n):
    return st.binary(min_size=n, max_size=n)


ADVERTISEMENTS = st.builds(Advertisement, _bytes(32), _bytes(32), _bytes(32), _bytes(64))
MESSAGES = st.one_of(
    ADVERTISEMENTS,
    st.builds(Directory, st.dictionaries(NAMES, ADVERTISEMENTS, max_size=4)),
    st.builds(Sealed, st.dictionaries(NAMES, _bytes(82), max_size=4)),
    st.builds(lambda a, d: Survivors(tuple(sorted(a)), tuple(sorted(d))), st.sets(NAMES), st.sets(NAMES)),
    st.builds(Confirmation, _bytes(64)),
    st.builds(Confirmations, st.dictionaries(NAMES, _bytes(64), max_size=4)),
    st.builds(Unmasking, st.dictionaries(NAMES, _bytes(33), max_size=4)),
)


@given(MESSAGES)
def test_a_message_reads_back_what_was_said(message):
    assert type(message).from_parts(message.body(), message.blobs()) == message


@given(MESSAGES, st.binary(min_size=1, max_size=40))
def test_a_message_that_is_longer_than_it_should_be_is_refused(message, more):
    blobs = {name: blob + more for name, blob in message.blobs().items()}
    if blobs:
        with pytest.raises(MessageError, match="bytes long"):
            type(message).from_parts(message.body(), blobs)


@pytest.mark.parametrize("word", [np.uint32, np.uint64])
def test_a_vector_reads_back_little_endian(word):
    vector = np.array([0, 1, 2**31], dtype=word)
    message = MaskedInput(vector)
    assert message.blobs()["vector"][: vector.itemsize * 2] == bytes(vector.itemsize) + b"\x01" + bytes(
        vector.itemsize - 1
    )
    again = MaskedInput.from_parts(message.body(), message.blobs())
    assert again.vector.tolist() == vector.tolist()
    assert again.vector.dtype.itemsize == vector.itemsize


@pytest.mark.parametrize(
    ("kind", "body", "blobs"),
    [
        (MaskedInput, {"bits": 16}, {"vector": b"1234"}),
        (MaskedInput, {"bits": 32}, {"vector": b"123"}),
        (MaskedInput, {}, {"vector": b"1234"}),
        (Sealed, {"sites": ["a", "a"]}, {"shares": bytes(164)}),
        (Sealed, {"sites": ["b", "a"]}, {"shares": bytes(164)}),
        (Sealed, {"sites": "ab"}, {"shares": bytes(164)}),
        (Sealed, {"sites": [1]}, {"shares": bytes(82)}),
        (Sealed, {}, {"shares": b""}),
        (Survivors, {"alive": ["a"]}, {}),
        (Unmasking, {"sites": ["a"]}, {}),
        (Unmasking, {"sites": ["a"]}, {"shares": bytes(33), "more": b""}),
        (Confirmation, {}, {"signature": bytes(63)}),
        (Directory, {"sites": ["a"]}, {"directory": bytes(159)}),
    ],
)
def test_a_malformed_message_is_refused(kind, body, blobs):
    with pytest.raises(MessageError):
        kind.from_parts(body, blobs)
