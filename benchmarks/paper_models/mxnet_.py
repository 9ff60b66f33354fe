"""The paper's two models on MXNet 1.9.1's operators; line by line those of ``statespace_.py``.

Runs in MXNet's own environment, inside ``factorisations/mxnet_worker.py``. ``F`` is ``mxnet.nd``
where MXNet computes as it goes, or ``mxnet.sym`` where it traces a graph, in which no shapes are
known. There is one batch axis, B.
"""

import functools
import math

import mxnet

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def log_evidence(F, x, y, log_noise_scale, log_prior_scale):
    """``statespace_.log_evidence``, of x ``[B, n, d]``; MXNet's L may have negative pivots."""
    count = F.sum(F.ones_like(y), axis=1)
    rows = F.transpose(F.concat(x, y.expand_dims(2), dim=2), axes=(0, 2, 1))
    data = F.broadcast_mul(rows, F.exp(-log_noise_scale).reshape((-1, 1, 1)))
    roots = F.concat(F.exp(-log_prior_scale), F.zeros_like(y.slice_axis(1, 0, 1)), dim=1)
    _, l = F.linalg.gelqf(F.concat(data, F.linalg.makediag(roots), dim=2))
    l_weights = F.abs(l.slice_axis(1, 0, -1).slice_axis(2, 0, -1))
    log_determinant = F.linalg.sumlogdiag(l_weights) + F.sum(log_prior_scale, axis=1)
    corner = l.slice_axis(1, -1, None).slice_axis(2, -1, None).reshape((-1,))
    return -count * (log_noise_scale + HALF_LOG_2PI) - log_determinant - 0.5 * corner**2


def log_marginal_likelihood(F, x, y, log_length_scale, log_amplitude, log_noise_scale):
    """``statespace_.log_marginal_likelihood``, of x ``[B, n, d]``."""
    count = F.sum(F.ones_like(y), axis=1)
    products = F.linalg.syrk(F.broadcast_mul(x, F.exp(-log_length_scale).reshape((-1, 1, 1))))
    half = F.broadcast_sub(log_amplitude.reshape((-1, 1)), 0.5 * F.linalg.extractdiag(products))
    exponent = F.broadcast_add(F.broadcast_add(products, half.expand_dims(2)), half.expand_dims(1))
    noise = F.broadcast_add(F.zeros_like(y), F.exp(2 * log_noise_scale).reshape((-1, 1)))
    l = F.linalg.potrf(F.exp(exponent) + F.linalg.makediag(noise))
    z = F.linalg.trsm(l, y.expand_dims(2))
    distance = F.sum(z**2, axis=(1, 2))
    return -count * HALF_LOG_2PI - F.linalg.sumlogdiag(l) - 0.5 * distance


class _Graph(mxnet.gluon.HybridBlock):
    """A model that is traced once, with its memory planned ahead."""

    def __init__(self, model):
        super().__init__()
        self._model = model
        self.hybridize(static_alloc=True, static_shape=True)

    def hybrid_forward(self, F, x, *arguments):
        return self._model(F, x, *arguments)


OPERATORS = {}
for _model in (log_evidence, log_marginal_likelihood):
    OPERATORS[f"{_model.__name__} eager"] = functools.partial(_model, mxnet.nd)
    OPERATORS[f"{_model.__name__} graph"] = _Graph(_model)
