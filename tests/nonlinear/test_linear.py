"""Of a linear model every method gives the numbers of the Kalman filter and smoother."""

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import build, random_data, random_parameters

import statespace as ss
from statespace.nonlinear import METHODS

T = 5


def as_functions(p):
    """The same model, its time-varying matrices looked up by ``step``."""
    f, b, h, d = (
        tf.constant(p[name])
        for name in (
            "transition_matrix",
            "transition_offset",
            "observation_matrix",
            "observation_offset",
        )
    )

    def at(x, step, core):
        return x if x.shape.rank == core else tf.gather(x, step, axis=x.shape.rank - core - 1)

    return ss.NonlinearGaussianSSM(
        lambda x, step: tf.linalg.matvec(at(f, step, 2), x) + at(b, step, 1),
        p["transition_scale"],
        lambda x, step: tf.linalg.matvec(at(h, step, 2), x) + at(d, step, 1),
        p["observation_scale"],
        p["initial_mean"],
        p["initial_scale"],
    )


def assert_same(model, ssm, y, **options):
    for infer, expected in (
        (ss.nonlinear_filter, ss.kalman_filter(ssm, y, algorithm="square_root")),
        (ss.nonlinear_smoother, ss.kalman_smoother(ssm, y, algorithm="square_root")),
    ):
        result = infer(model, y, **options)
        assert type(result) is type(expected)
        for name, x, z in zip(expected._fields, result, expected, strict=True):
            if z is None:
                assert x is None
                continue
            assert x.shape == z.shape, name
            assert x.dtype == z.dtype, name
            size = max(np.max(np.abs(z), initial=0.0), 1.0)
            np.testing.assert_allclose(x, z, rtol=0, atol=1e-10 * size, err_msg=name)


CASES = {  # batch of the data, lead of per-step parameters, batch of initial ones, n, m, k
    "one series": ((), (), (), 2, 1, 2),
    "time-varying, per series": ((2,), (2, T), (2,), 3, 2, 1),
    "two batch axes": ((2, 3), (3, T), (2, 1), 2, 3, 2),
    "no noise in any state": ((2,), (), (), 4, 2, 0),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_equals_the_linear_functions(case, method):
    batch, lead, initial, n, m, k = case
    rng = np.random.default_rng(0)
    p = random_parameters(rng, n, m, k=k, lead=lead, batch=initial)
    y = random_data(rng, batch, T, m)
    options = {"iterations": 2} if method == "iterated" else {}
    assert_same(as_functions(p), build(p), y, method=method, **options)


@pytest.mark.parametrize("options", [(1e-2, 2.0, 0.0), (1.0, 1.0, -2.0), (0.5, 0.0, 1.0)])
def test_any_sigma_points(options):
    """Centre weights of -1e4 and -2 among them; rounding is divided by alpha^2."""
    rng = np.random.default_rng(1)
    p, y = random_parameters(rng, 3, 2), random_data(rng, (2,), T, 2)
    names = ("alpha", "beta", "kappa")
    assert_same(
        as_functions(p), build(p), y, method="unscented", **dict(zip(names, options, strict=True))
    )


@pytest.mark.parametrize("method", ["extended", "cubature"])
def test_singular_covariances(method):
    """A state that is known from the start, and one that copies another: P has rank one."""
    p = random_parameters(np.random.default_rng(2), 3, 1, k=1)
    p["transition_matrix"] = np.array([[0.9, 0.0, 0.1], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    p["transition_scale"] = np.array([[0.5], [0.0], [0.0]])
    p["initial_scale"] = np.array([[1.0], [0.5], [0.0]])
    y = random_data(np.random.default_rng(3), (), 8, 1)
    assert_same(as_functions(p), build(p), y, method=method)


@pytest.mark.parametrize("infer", [ss.nonlinear_filter, ss.nonlinear_smoother])
def test_controls_and_batch_axes_of_closures(infer):
    """Controls enter as offsets; three values of a coefficient give one series three results."""
    rng = np.random.default_rng(4)
    p = random_parameters(rng, 2, 1, lead=(T,))
    p |= {name: p[name][0] for name in ("transition_matrix", "observation_matrix")}
    factors = tf.constant([[0.5], [0.9], [1.0]], tf.float64)
    f, h, d = (
        tf.constant(p[x]) for x in ("transition_matrix", "observation_matrix", "observation_offset")
    )
    model = ss.NonlinearGaussianSSM(
        lambda x, controls: factors * tf.linalg.matvec(f, x) + controls,
        p["transition_scale"],
        lambda x, *, step: tf.linalg.matvec(h, x) + d[step],
        p["observation_scale"],
        p["initial_mean"],
        p["initial_scale"],
    )
    y = random_data(rng, (), T, 1)
    result = infer(model, y, controls=p["transition_offset"], method="unscented")
    p["transition_matrix"] = factors[:, None, :, None] * f
    linear = {ss.nonlinear_filter: ss.kalman_filter, ss.nonlinear_smoother: ss.kalman_smoother}
    expected = linear[infer](build(p), y)
    np.testing.assert_allclose(result[0], expected[0], rtol=1e-10)
    np.testing.assert_allclose(result[1], expected[1], rtol=1e-9, atol=1e-11)
