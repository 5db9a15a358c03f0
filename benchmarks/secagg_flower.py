"""What one client of Flower's own SecAgg+ computes in a round, without the network.

Its stage functions are called as its mod calls them; what the other clients would have sent is prepared
outside the measured time, with arbitrary bytes in place of their shares.
"""

import logging
import os
from importlib import import_module

import numpy as np

from benchmarks.timing import seconds_of

_MOD = "flwr.client.mod.secure_aggregation.secaggplus_mod"
_QUANTIZATION, _MODULUS, _MAX_WEIGHT, _CLIPPING = 2**22, 2**32, 1000.0, 8.0  # its defaults


def flower_client_seconds(neighbours: int, length: int, threshold: int) -> float:
    """Return the seconds of all four stages of one client.

    Args:
        neighbours: How many clients it shares masks and secrets with.
        length: Number of parameters; Flower adds the weight.
        threshold: How many shares recover a secret.
    """
    from flwr.common import ndarrays_to_parameters
    from flwr.common.secure_aggregation.secaggplus_constants import Key

    flower = import_module(_MOD)  # its package has a function of the same name
    logging.getLogger("flwr").setLevel(logging.ERROR)
    setup = {
        Key.SAMPLE_NUMBER: neighbours + 1,
        Key.SHARE_NUMBER: neighbours + 1,
        Key.THRESHOLD: threshold,
        Key.CLIPPING_RANGE: _CLIPPING,
        Key.TARGET_RANGE: _QUANTIZATION,
        Key.MOD_RANGE: _MODULUS,
        Key.MAX_WEIGHT: _MAX_WEIGHT,
    }
    clients = [_state(flower, k) for k in range(neighbours + 1)]
    us, others = clients[0], clients[1:]
    for client in others:
        flower._setup(client, setup)
    seconds = seconds_of(lambda: flower._setup(us, setup))
    directory = {str(client.nid): (client.pk1, client.pk2) for client in clients}
    seconds += seconds_of(lambda: flower._share_keys(us, directory))
    delivery = {
        Key.SOURCE_LIST: [client.nid for client in others],
        Key.CIPHERTEXT_LIST: [_sealed(client, us) for client in others],
    }
    parameters = ndarrays_to_parameters([np.zeros(length, dtype=np.float32)])
    seconds += seconds_of(lambda: flower._collect_masked_vectors(us, delivery, 100, parameters))
    survivors = {Key.ACTIVE_NODE_ID_LIST: list(range(neighbours + 1)), Key.DEAD_NODE_ID_LIST: []}
    return seconds + seconds_of(lambda: flower._unmask(us, survivors))


def _state(flower, nid):
    state = flower.SecAggPlusState()
    state.nid = nid
    return state


def _sealed(sender, recipient):
    """Return shares as long as those of Flower: of a 32-byte seed and of a P-384 key in PEM."""
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import encrypt, generate_shared_key
    from flwr.common.secure_aggregation.secaggplus_utils import share_keys_plaintext_concat
    from flwr.supercore.primitives.asymmetric import bytes_to_private_key, bytes_to_public_key

    key = generate_shared_key(bytes_to_private_key(sender.sk2), bytes_to_public_key(recipient.pk2))
    shares = os.urandom(4 + 48), os.urandom(4 + len(sender.sk1) // 16 * 16 + 16)
    return encrypt(key, share_keys_plaintext_concat(sender.nid, recipient.nid, *shares))
