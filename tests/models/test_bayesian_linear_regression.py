"""The estimator: its priors, updates, weights, draws and leave-one-out, against other programs."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import statsmodels.api as sm
import tensorflow as tf
import tensorflow_probability as tfp

from statespace.models import BayesianLinearRegression, FixedPrior, NormalInverseGamma, ZellnerG

PRIORS = {
    "evidence": "evidence",
    "ard": "ard",
    "flat": "flat",
    "fixed": FixedPrior(0.7, [0.5, 1.0, 2.0], [0.0, 1.0, 0.0]),
    "normal-inverse-gamma": NormalInverseGamma(1.5, 2.0, 1.0),
    "g": ZellnerG(7.0),
    "g by evidence": ZellnerG("evidence"),
}
every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)


def data(n=20, d=3, batch=(), seed=0):
    rng = np.random.default_rng(seed)
    x = 3.0 + rng.normal(size=(*batch, n, d))
    y = x @ np.linspace(-1.0, 2.0, d) + 5.0 + 0.5 * rng.normal(size=(*batch, n))
    return x, y, rng.uniform(0.5, 2.0, size=(*batch, n))


def assert_same(model, other, tolerance=1e-9):
    """The same posterior, predictions and evidence."""
    at = np.random.default_rng(9).normal(size=(5, model.coefficients.shape[-1]))
    for got, want in (
        (model.coefficients, other.coefficients),
        (model.intercept, other.intercept),
        (model.noise_scale, other.noise_scale),
        (model.coefficient_covariance, other.coefficient_covariance),
        (model.log_evidence, other.log_evidence),
        (model.num_observations, other.num_observations),
        (model.predict(at).mean(), other.predict(at).mean()),
        (model.predict(at).stddev(), other.predict(at).stddev()),
    ):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def estimated(prior):
    """How far an optimiser may leave what else is exact."""
    return 1e-8 if prior in ("evidence", "ard") else 1e-9


@every_prior
@pytest.mark.parametrize("intercept", [True, False])
def test_update_and_downdate_equal_one_fit(prior, intercept):
    x, y, weights = data()
    part, rest = slice(None, 14), slice(14, None)
    model = BayesianLinearRegression(prior, intercept=intercept)
    model.fit(x[part], y[part], weights=weights[part])
    model.update(x[rest], y[rest], weights=weights[rest])
    whole = BayesianLinearRegression(prior, intercept=intercept).fit(x, y, weights=weights)
    assert_same(model, whole, estimated(prior))
    model.downdate(x[rest], y[rest], weights=weights[rest])
    first = BayesianLinearRegression(prior, intercept=intercept)
    assert_same(model, first.fit(x[part], y[part], weights=weights[part]), estimated(prior))


def test_update_and_downdate_one_by_one_with_fewer_observations_than_features():
    x, y, _ = data(5, 8)
    prior = FixedPrior(0.5, 1.0)
    model = BayesianLinearRegression(prior).fit(x[:1], y[:1])
    for i in range(1, 5):
        model.update(x[i : i + 1], y[i : i + 1])
        assert_same(model, BayesianLinearRegression(prior).fit(x[: i + 1], y[: i + 1]))
    for i in range(4, 0, -1):
        model.downdate(x[i : i + 1], y[i : i + 1])
        assert_same(model, BayesianLinearRegression(prior).fit(x[:i], y[:i]), 1e-7)


@every_prior
def test_batches_are_loops(prior):
    x, y, weights = data(batch=(2, 3))
    model = BayesianLinearRegression(prior).fit(x, y, weights=weights)
    assert model.log_evidence.shape == (2, 3)
    draws = model.sample_weights(7, seed=1)
    assert draws.weights.shape == (7, 2, 3, 3)
    assert draws.intercept.shape == draws.noise_scale.shape == (7, 2, 3)
    out = model.leave_one_out(x, y, weights=weights)
    for index in np.ndindex(2, 3):
        one = BayesianLinearRegression(prior).fit(x[index], y[index], weights=weights[index])
        tolerance = estimated(prior)
        np.testing.assert_allclose(model.coefficients[index], one.coefficients, atol=tolerance)
        np.testing.assert_allclose(model.log_evidence[index], one.log_evidence, rtol=tolerance)
        left = one.leave_one_out(x[index], y[index], weights=weights[index])
        np.testing.assert_allclose(out.mean()[index], left.mean(), rtol=tolerance)


@every_prior
def test_repetitions_are_repeated_observations(prior):
    x, y, weights = data(8)
    times = np.array([1, 2, 1, 3, 1, 1, 0, 2])
    model = BayesianLinearRegression(prior)
    model.fit(x, y, weights=weights, repetitions=times)
    repeated = BayesianLinearRegression(prior)
    repeated.fit(np.repeat(x, times, 0), np.repeat(y, times), weights=np.repeat(weights, times))
    assert_same(model, repeated, estimated(prior))
    model.update(x[:2], y[:2], repetitions=[2, 1]).downdate(x[:2], y[:2], repetitions=[2, 1])
    model.update(x[:2], y[:2], repetitions=[2, 1])
    repeated.update(x[[0, 0, 1]], y[[0, 0, 1]])
    assert_same(model, repeated, estimated(prior))


def test_an_observation_of_weight_zero_does_not_count():
    x, y, weights = data(8)
    weights[2] = 0.0
    model = BayesianLinearRegression(PRIORS["normal-inverse-gamma"]).fit(x, y, weights=weights)
    rest = np.arange(8) != 2
    fewer = BayesianLinearRegression(PRIORS["normal-inverse-gamma"])
    assert_same(model, fewer.fit(x[rest], y[rest], weights=weights[rest]))


def test_flat_prior_equals_weighted_least_squares_of_statsmodels():
    x, y, weights = data()
    model = BayesianLinearRegression("flat").fit(x, y, weights=weights)
    other = sm.WLS(y, sm.add_constant(x), weights).fit()
    np.testing.assert_allclose(model.coefficients, other.params[1:], rtol=1e-10)
    np.testing.assert_allclose(model.intercept, other.params[0], rtol=1e-10)
    np.testing.assert_allclose(model.noise_scale**2, other.scale, rtol=1e-11)
    np.testing.assert_allclose(model.degrees_of_freedom, other.df_resid)
    errors = model.coefficient_distribution().scale
    np.testing.assert_allclose(errors, other.bse[1:], rtol=1e-10)
    at = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    ahead = other.get_prediction(np.column_stack([np.ones(2), at])).summary_frame(alpha=0.1)
    # TFP's StudentT has no quantiles.
    prediction = model.predict(at)
    half = scipy.stats.t.ppf(0.95, model.degrees_of_freedom) * prediction.scale
    np.testing.assert_allclose(prediction.loc - half, ahead["obs_ci_lower"], rtol=1e-10)
    np.testing.assert_allclose(prediction.loc + half, ahead["obs_ci_upper"], rtol=1e-10)
    line = model.predict(at, noise=False)
    np.testing.assert_allclose(line.scale, ahead["mean_se"], rtol=1e-10)


@pytest.mark.parametrize("d", [3, 12], ids=["n > d", "n < d"])
def test_normal_inverse_gamma_evidence_is_a_multivariate_t(d):
    x, y, weights = data(8, d)
    prior = NormalInverseGamma(1.5, 2.0, 1.3, 0.2)
    model = BayesianLinearRegression(prior, intercept=False).fit(x, y, weights=weights)
    shape = 1.3 / 2.0 * (np.diag(1 / weights) + 1.5**2 * x @ x.T)
    want = scipy.stats.multivariate_t(x @ np.full(d, 0.2), shape, df=4.0).logpdf(y)
    np.testing.assert_allclose(model.log_evidence, want, rtol=1e-11)
    # Bayes: the predictive density is the ratio of two evidences.
    at, value = np.ones((1, d)), np.array([0.4])
    log_density = model.predict(at).log_prob(value)[0]
    before = model.log_evidence
    np.testing.assert_allclose(model.update(at, value).log_evidence - before, log_density)


def test_intercept_is_integrated_over():
    """Against quadrature over the intercept, and over the noise as well."""
    x, y, weights = data(6, 2)
    at = FixedPrior(0.6, 1.2)
    model = BayesianLinearRegression(at).fit(x, y, weights=weights)
    covariance = 0.36 * np.diag(1 / weights) + 1.44 * x @ x.T

    def density(constant):
        return scipy.stats.multivariate_normal(np.full(6, constant), covariance).pdf(y)

    centre = float(model.predict(np.zeros((1, 2))).mean()[0])
    total, _ = scipy.integrate.quad(density, centre - 40, centre + 40, points=[centre])
    np.testing.assert_allclose(model.log_evidence, np.log(total), rtol=1e-8)


@pytest.mark.parametrize("g", [0.5, 20.0])
def test_zellner_bayes_factor(g):
    """Liang et al. (2008), equation 6: against the model without features."""
    x, y, _ = data(15, 3)
    model = BayesianLinearRegression(ZellnerG(g)).fit(x, y)
    null = BayesianLinearRegression(ZellnerG(g)).fit(x[:, :0], y)
    r2 = sm.OLS(y, sm.add_constant(x)).fit().rsquared
    want = 0.5 * (15 - 3 - 1) * np.log1p(g) - 0.5 * (15 - 1) * np.log1p(g * (1 - r2))
    np.testing.assert_allclose(model.log_evidence - null.log_evidence, want, rtol=1e-10)
    flat = BayesianLinearRegression("flat").fit(x, y)
    np.testing.assert_allclose(model.coefficients, g / (1 + g) * flat.coefficients, rtol=1e-11)


def test_zellner_by_evidence_is_the_best_and_zero_without_signal():
    x, y, _ = data(15, 3)
    best = BayesianLinearRegression(ZellnerG("evidence")).fit(x, y)
    r2 = sm.OLS(y, sm.add_constant(x)).fit().rsquared
    g = max(r2 / 3 / ((1 - r2) / 11) - 1, 0)
    same = BayesianLinearRegression(ZellnerG(g)).fit(x, y)
    np.testing.assert_allclose(best.log_evidence, same.log_evidence, rtol=1e-12)
    for other in (0.8 * g, 1.2 * g):
        worse = BayesianLinearRegression(ZellnerG(other)).fit(x, y)
        assert worse.log_evidence < best.log_evidence
    orthogonal = sm.OLS(y, sm.add_constant(x)).fit().resid
    none = BayesianLinearRegression(ZellnerG("evidence")).fit(x, orthogonal)
    np.testing.assert_array_equal(none.coefficients, 0.0)
    np.testing.assert_array_equal(none.coefficient_covariance, 0.0)


@pytest.mark.parametrize(
    "prior", ["flat", PRIORS["fixed"], PRIORS["normal-inverse-gamma"]], ids=str
)
@pytest.mark.parametrize("intercept", [True, False])
def test_leave_one_out_equals_fits_without_one(prior, intercept):
    x, y, weights = data(10)
    weights[3] = 0.0
    model = BayesianLinearRegression(prior, intercept=intercept).fit(x, y, weights=weights)
    out = model.leave_one_out(x, y, weights=weights)
    densities = out.log_prob(y).numpy()
    for i in range(10):
        if weights[i] == 0:
            continue
        kept = np.arange(10) != i
        rest = BayesianLinearRegression(prior, intercept=intercept)
        rest.fit(x[kept], y[kept], weights=weights[kept])
        want = rest.predict(x[i : i + 1], weights=weights[i : i + 1])
        np.testing.assert_allclose(out.mean()[i], want.mean()[0], rtol=1e-10)
        np.testing.assert_allclose(densities[i], want.log_prob(y[i])[0], rtol=1e-9)


def test_draws_have_the_moments_of_the_posterior():
    x, y, _ = data()
    for prior in (FixedPrior(0.7, 1.0), NormalInverseGamma(1.0, 3.0, 2.0)):
        model = BayesianLinearRegression(prior).fit(x, y)
        draws = model.sample_weights(40000, seed=3)
        covariance = model.coefficient_covariance.numpy()
        error = np.sqrt(np.diag(covariance) / 40000)
        assert np.all(np.abs(draws.weights.numpy().mean(0) - model.coefficients) < 4.5 * error)
        np.testing.assert_allclose(
            np.cov(draws.weights, rowvar=False), covariance, atol=0.04 * covariance.max()
        )
        at = np.array([1.0, 0.0, -2.0])
        values = draws.weights.numpy() @ at + draws.intercept.numpy()
        line = model.predict(at[np.newaxis], noise=False)
        np.testing.assert_allclose(np.std(values), line.stddev()[0], rtol=0.03)
        np.testing.assert_allclose(np.mean(values), line.mean()[0], atol=0.03 * np.std(values))
    precision = draws.noise_scale**-2.0
    np.testing.assert_allclose(np.mean(precision), model.noise_scale**-2.0, rtol=0.02)
    again = model.sample_weights(40000, seed=3)
    np.testing.assert_array_equal(again.weights, draws.weights)


def test_draws_with_fewer_observations_than_features():
    x, y, _ = data(4, 6)
    model = BayesianLinearRegression(FixedPrior(0.7, 1.0)).fit(x, y)
    draws = model.sample_weights(40000, seed=5).weights
    covariance = model.coefficient_covariance.numpy()
    np.testing.assert_allclose(np.cov(draws, rowvar=False), covariance, atol=0.03)
    np.testing.assert_allclose(
        model.coefficient_distribution().stddev() ** 2, np.diag(covariance), rtol=1e-12
    )


def test_repeated_and_constant_columns():
    x, y, _ = data()
    twice = np.column_stack([x, x[:, :1], np.ones(len(x))])
    for prior in ("evidence", FixedPrior(0.5, 1.0), NormalInverseGamma(1.0, 1.0, 1.0)):
        model = BayesianLinearRegression(prior).fit(twice, y)
        np.testing.assert_allclose(model.coefficients[0], model.coefficients[3], rtol=1e-8)
        np.testing.assert_allclose(model.coefficients[4], 0.0, atol=1e-8)
        assert np.all(np.isfinite(model.predict(twice).stddev()))


@pytest.mark.parametrize("units", [(1e8, 1.0), (1e-8, 1e8), (1.0, 1e-8)])
@every_prior
def test_units_do_not_matter(prior, units):
    x_unit, y_unit = units
    x, y, _ = data()
    other_prior = prior
    if isinstance(prior, FixedPrior):
        ratio = y_unit / x_unit
        mean, scale = np.array(prior.weight_mean), np.array(prior.weight_scale)
        other_prior = FixedPrior(prior.noise_scale * y_unit, scale * ratio, mean * ratio)
    if isinstance(prior, NormalInverseGamma):
        other_prior = NormalInverseGamma(1.5 / x_unit, 2.0, y_unit**2)
    model = BayesianLinearRegression(prior).fit(x, y)
    other = BayesianLinearRegression(other_prior).fit(x * x_unit, y * y_unit)
    tolerance = estimated(prior)
    np.testing.assert_allclose(
        other.coefficients * x_unit / y_unit, model.coefficients, rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(other.noise_scale / y_unit, model.noise_scale, rtol=tolerance)


def test_float32_with_large_means():
    """What a mean takes of the digits is given back by the origin."""
    x, y, _ = data(200)
    x32, y32 = (x + 1000).astype(np.float32), (y + 5000).astype(np.float32)
    model = BayesianLinearRegression("flat").fit(x32, y32)
    assert model.coefficients.dtype == np.float32
    exact = BayesianLinearRegression("flat").fit(x32.astype(np.float64), y32.astype(np.float64))
    np.testing.assert_allclose(model.coefficients, exact.coefficients, rtol=2e-5)
    np.testing.assert_allclose(model.noise_scale, exact.noise_scale, rtol=1e-5)


def test_refinement_with_weights_and_priors():
    x, y, weights = data()
    for prior in (*PRIORS.values(), FixedPrior(0.7, [0.0, 1.0, np.inf])):
        model = BayesianLinearRegression(prior).fit(x, y, weights=weights)
        refined = BayesianLinearRegression(prior).fit(x, y, weights=weights, refine=True)
        assert_same(model, refined, 1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("prior", ["flat", ZellnerG(3.0), FixedPrior(0.5, 2.0, [0.0, 1.0, 2.0])])
def test_refined_weighted_regressions_are_exact(prior, dtype):
    """Against fractions, far from the origin, where scaling rows by roots would cost digits."""
    rng = np.random.default_rng(11)
    far = 1e6 if dtype is np.float64 else 1e3
    x, y = (far + rng.normal(size=(15, 3))).astype(dtype), rng.normal(size=15).astype(dtype)
    weights = rng.uniform(0.3, 3.0, size=15).astype(dtype)
    weights[4] = 0.0
    model = BayesianLinearRegression(prior).fit(x, y, weights=weights, refine=True)
    rows = [[Fraction(1), *map(Fraction, row.tolist())] for row in x]
    precision = [Fraction(w) for w in weights.tolist()]
    system = [
        [sum(w * r[i] * r[j] for w, r in zip(precision, rows, strict=True)) for j in range(4)]
        + [sum(w * r[i] * Fraction(v) for w, r, v in zip(precision, rows, y.tolist(), strict=True))]
        for i in range(4)
    ]
    if isinstance(prior, FixedPrior):  # in units of the noise, 1/16 is the precision of a weight
        for i in range(1, 4):
            system[i][i] += Fraction(1, 16)
            system[i][4] += Fraction(1, 16) * Fraction(prior.weight_mean[i - 1])
    for i in range(4):
        system[i] = [value / system[i][i] for value in system[i]]
        for j in set(range(4)) - {i}:
            factor = system[j][i]
            system[j] = [u - factor * v for u, v in zip(system[j], system[i], strict=True)]
    exact = [float(row[-1]) for row in system]
    if isinstance(prior, ZellnerG):
        exact[1:] = [0.75 * value for value in exact[1:]]
        exact[0] = 0.75 * exact[0] + 0.25 * float(
            sum(w * Fraction(v) for w, v in zip(precision, y.tolist(), strict=True))
            / sum(precision)
        )
    epsilon = np.finfo(dtype).eps
    np.testing.assert_allclose(model.coefficients, exact[1:], rtol=4 * epsilon)
    np.testing.assert_allclose(model.intercept, exact[0], rtol=4 * epsilon)


def test_what_predict_returns():
    x, y, _ = data()
    normal = BayesianLinearRegression(PRIORS["fixed"]).fit(x, y).predict(x)
    assert isinstance(normal, tfp.distributions.Normal)
    student = BayesianLinearRegression("flat").fit(x, y).predict(x)
    assert isinstance(student, tfp.distributions.StudentT)
    assert normal.batch_shape == student.batch_shape == (20,)


def refused():
    x, y, _ = data(6)
    fit = lambda prior, *arguments, **options: (  # noqa: E731
        BayesianLinearRegression(prior).fit(*arguments, **options)
    )
    broken, negative = x.copy(), np.ones(6)
    broken[2, 1], negative[4] = np.nan, -1.0
    double = np.column_stack([x, x[:, 0] - 2 * x[:, 1]])
    alone = np.column_stack([x[:, 0], np.eye(6)[2]])
    lone = fit("flat", alone, y)
    return {
        r"prior is 'ridge'; it must be one of 'evidence', 'ard', 'flat'": lambda: fit(
            "ridge", x, y
        ),
        r"x has shape \(6, 3\) and y \(5,\)": lambda: fit("flat", x, y[:5]),
        r"x\[2, 1\] is nan; leave the observation out": lambda: fit("flat", broken, y),
        r"weights\[4\] is -1.0; it must not be neg": lambda: fit("flat", x, y, weights=negative),
        r"weights has shape \(5,\)": lambda: fit("flat", x, y, weights=np.ones(5)),
        r"x is float32 and y is float64": lambda: fit("flat", x.astype(np.float32), y),
        r"column 3 of x is a combination of the columns before": lambda: fit("flat", double, y),
        r"as many weights as observations, or more": lambda: fit("flat", x[:4], y[:4]),
        r"y is constant, so its noise": lambda: fit("evidence", x, np.full(6, 0.1)),
        r"noise_scale is 0.0; it must be positive": lambda: fit(FixedPrior(0.0, 1.0), x, y),
        r"weight_scale has shape \(2,\)": lambda: fit(FixedPrior(1.0, [1.0, 2.0]), x, y),
        r"g-prior needs at least as many": lambda: fit(ZellnerG(), x[:3], y[:3]),
        r"g is inf; it must be positive and finite": lambda: fit(ZellnerG(np.inf), x, y),
        r"g is no array of numbers: 'best'": lambda: fit(ZellnerG("best"), x, y),
        r"fit: x is no array of numbers": lambda: fit("flat", None, y),
        r"weights is no array of numbers: 'balanced'": lambda: fit(
            "flat", x, y, weights="balanced"
        ),
        r"weight_mean is nan; it must be finite": lambda: fit(FixedPrior(1.0, 1.0, np.nan), x, y),
        r"noise_scale is inf; it must be positive and": lambda: fit(FixedPrior(np.inf, 1.0), x, y),
        r"noise_scale is no array of numbers: 'a'": lambda: fit(FixedPrior("a", 1.0), x, y),
        r"rate is inf; it must be finite": lambda: fit(NormalInverseGamma(1.0, 1.0, np.inf), x, y),
        r"predict: x is no array of numbers": lambda: lone.predict(None),
        r"all weights of a data set are zero": lambda: fit("flat", x, y, weights=np.zeros(6)),
        r"nothing is fitted yet": lambda: BayesianLinearRegression().predict(x),
        r"observation \[2\] alone determines": lambda: lone.leave_one_out(alone, y),
        r"with D = 2 features": lambda: lone.predict(x),
        r"nothing would remain": lambda: lone.downdate(alone, y),
        r"features reproduce y exactly": lambda: fit(ZellnerG("evidence"), x, x[:, 0]),
        r"not part of the fit": lambda: lone.downdate(alone[:1], y[:1] + 99),
        r"what was fitted is float64": lambda: lone.update(x, y),
        r"seed is 1.5": lambda: lone.sample_weights(1, seed=1.5),
    }


@pytest.mark.parametrize("message", list(refused()))
def test_refuses_by_name(message):
    with pytest.raises(ValueError, match=message):
        refused()[message]()


def test_a_refused_update_leaves_the_fit():
    x, y, _ = data()
    model = BayesianLinearRegression("flat").fit(x, y)
    before = model.coefficients.numpy()
    with pytest.raises(ValueError, match="not part of the fit"):
        model.downdate(x[:2], y[:2] + 3.0)
    np.testing.assert_array_equal(model.coefficients, before)


def test_several_priors_on_one_data_set():
    """A prior with batch axes of its own; the data keep theirs in all that follows."""
    x, y, _ = data()
    scales = [0.5, 2.0]
    model = BayesianLinearRegression(FixedPrior(np.array(scales), 1.0)).fit(x[:15], y[:15])
    model.update(x[15:], y[15:]).downdate(x[:2], y[:2])
    out = model.leave_one_out(x[2:], y[2:])
    for i, scale in enumerate(scales):
        one = BayesianLinearRegression(FixedPrior(scale, 1.0)).fit(x[2:], y[2:])
        np.testing.assert_allclose(model.coefficients[i], one.coefficients, rtol=1e-11)
        np.testing.assert_allclose(out.mean()[i], one.leave_one_out(x[2:], y[2:]).mean(), rtol=1e-9)


@pytest.mark.parametrize("prior", ["flat", NormalInverseGamma(1.0, 1.0, 1e-3)], ids=str)
def test_leaving_out_of_what_was_not_fitted_is_refused(prior):
    x = np.random.default_rng(0).normal(size=(30, 2))
    y = x @ [1.0, 2.0] + 0.1 * np.sin(9 * x[:, 0])
    model = BayesianLinearRegression(prior).fit(x, y)
    with pytest.raises(ValueError, match=r"observation \[3\] is further off than all"):
        model.leave_one_out(x, np.where(np.arange(30) == 3, 50.0, y))


def test_an_exact_fit_leaves_no_noise_and_no_nan():
    x = np.random.default_rng(0).normal(size=(30, 2))
    for shift in (0.0, 1e6):
        y = x @ [1.0, 2.0] + shift
        model = BayesianLinearRegression("flat").fit(x, y)
        out = model.leave_one_out(x, y)
        np.testing.assert_allclose(out.loc, y, rtol=1e-13)
        assert np.all(out.scale >= 0)
        assert np.all(out.scale < 1e-12 * (1 + shift))


def test_lists_of_numbers_are_float64():
    x, y, _ = data()
    lists = BayesianLinearRegression("flat").fit(x.tolist(), y.tolist())
    assert_same(lists, BayesianLinearRegression("flat").fit(x, y), 0.0)
    whole = BayesianLinearRegression("flat").fit([[0], [1], [3]], [1, 2, 5])
    assert whole.predict([[2]]).mean().dtype == tf.float64


def test_wrong_places_to_predict_or_fit():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 9, 3)), rng.normal(size=(2, 9))
    model = BayesianLinearRegression("flat").fit(x, y)
    with pytest.raises(ValueError, match=r"its leading axes must broadcast with those of the fit"):
        model.predict(np.ones((3, 4, 3)))
    with pytest.raises(ValueError, match=r"x\[0, 1\] is nan; leave that row out"):
        model.predict([[0.0, np.nan, 1.0]] * np.ones((2, 1)))
    with pytest.raises(ValueError, match="it cannot be fitted in a graph"):
        tf.function(lambda x, y: BayesianLinearRegression("flat").fit(x, y).coefficients)(x, y)
