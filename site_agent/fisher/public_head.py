"""A classifier that no patient had a part in: the same for every task of a space.

Its Fisher information says which filters the inputs of a task excite and in which directions they could
change the features; it knows nothing of the task's labels. In return there is nothing to protect but the
gradients themselves.
"""

import numpy as np
from scipy.special import ndtri

from federation.sketches.fisher_parameters import FisherParameters
from site_agent.fisher.head import LinearHead

N_CLASSES = 16
_KEY = 0x66656470_68656164


def public_head(parameters: FisherParameters, n_features: int) -> LinearHead:
    """Return the softmax classifier that a space's seed draws.

    Weights are standard normal numbers divided by the norm of a typical feature vector, so that logits of
    typical images have variance one. They come from raw Philox words, whose stream NumPy promises not to
    change, through the normal quantile.

    Args:
        parameters: What the space fixes; its seed and ``head_scale`` are used.
        n_features: Length of a feature vector.
    """
    random = np.random.Philox(key=(_KEY << 64) | parameters.seed)
    words = random.random_raw(N_CLASSES * n_features).reshape(N_CLASSES, n_features)
    normals = ndtri(((words >> np.uint64(32)).astype(np.float64) + 0.5) / 2**32)
    classes = np.arange(N_CLASSES, dtype=np.int64)
    weights = normals / parameters.head_scale
    return LinearHead(weights, np.zeros(N_CLASSES), classes, np.ones(N_CLASSES, np.int64))
