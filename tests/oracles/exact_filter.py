"""Filter and smoother in mpmath, straight from the formulas: with enough digits all are accurate.

One series, parameters that do not vary. Notation: Durbin & Koopman, Time Series Analysis by State
Space Methods, 2nd ed., sections 4.3 and 4.4. None of it is shared with the library.
"""

import mpmath
import numpy as np

# Differences take 20; in P - P H' S^-1 H P up to 24 cancel at each step, 48 where it is squared.
DIGITS = 120


def _matrix(x):
    x = np.atleast_2d(np.asarray(x))
    return mpmath.matrix([[mpmath.mpf(float(v)) for v in row] for row in x])


def run(parameters, y):
    """Moments of every step, as nested lists of mpmath numbers.

    Args:
      parameters: arrays by the names of ``statespace.ssm.PARAMETERS``, or mpmath matrices.
      y: ``[T, m]``; NaN is missing.

    Returns:
      A dict: log_likelihood, and by step filtered_mean, filtered_covariance, predicted_mean,
      predicted_covariance, innovation_covariance, smoothed_mean, smoothed_covariance,
      lag_one_covariance.
    """
    with mpmath.workdps(DIGITS):
        return _run(parameters, np.asarray(y))


def log_likelihood(parameters, y):
    """log p(y) alone."""
    with mpmath.workdps(DIGITS):
        return _filter(_matrices(parameters), np.asarray(y))[0]


def derivative(parameters, y, name, direction):
    """The derivative of the log-likelihood when a parameter moves, by central differences."""
    return _difference(parameters, name, direction, lambda x: _filter(x, np.asarray(y))[0])


def smoothed_derivative(parameters, y, name, direction, weights):
    """The same of a weighted sum of smoothed moments.

    Args:
      weights: arrays of the shapes of smoothed mean, smoothed covariance and lag-one covariance.
    """

    def weighted_sum(x):
        total = mpmath.mpf(0)
        moments = _smooth(x, _filter(x, np.asarray(y))[1])
        for weight, steps in zip(weights, moments, strict=True):
            for w, moment in zip(weight, steps, strict=True):
                w = w.reshape(moment.rows, moment.cols)
                total += sum(
                    mpmath.mpf(float(w[i, j])) * moment[i, j]
                    for i in range(moment.rows)
                    for j in range(moment.cols)
                )
        return total

    return _difference(parameters, name, direction, weighted_sum)


def _difference(parameters, name, direction, function):
    with mpmath.workdps(DIGITS):
        x, direction = _matrices(parameters), _columns(name, direction)
        size = max(abs(v) for v in x[name]) or mpmath.mpf(1)
        step = size * mpmath.mpf(10) ** -20
        up, down = (function(x | {name: x[name] + sign * step * direction}) for sign in (1, -1))
        return (up - down) / (2 * step)


def _columns(name, x):
    vector = name.endswith(("offset", "mean"))
    return _matrix(x).T if vector else _matrix(x)


def _matrices(parameters):
    return {name: _columns(name, x) for name, x in parameters.items()}


def _filter(x, y):
    f, h, d = x["transition_matrix"], x["observation_matrix"], x["observation_offset"]
    c, g, s = x["observation_scale"], x["transition_scale"], x["initial_scale"]
    r, q = c * c.T, g * g.T
    a, p = x["initial_mean"], s * s.T
    total, steps = mpmath.mpf(0), []
    for row in y:
        seen = [i for i in range(h.rows) if not np.isnan(row[i])]
        step = {"a": a, "p": p, "s": h * p * h.T + r}
        z = mpmath.matrix(len(seen), h.cols)
        v = mpmath.matrix(len(seen), 1)
        cov = mpmath.matrix(len(seen), len(seen))
        full = h * a + d
        for k, i in enumerate(seen):
            v[k] = mpmath.mpf(float(row[i])) - full[i]
            for j in range(h.cols):
                z[k, j] = h[i, j]
            for j, other in enumerate(seen):
                cov[k, j] = step["s"][i, other]
        if seen:
            inverse = mpmath.inverse(cov)
            quadratic = (v.T * inverse * v)[0]
            total -= (len(seen) * mpmath.log(2 * mpmath.pi) + quadratic) / 2
            total -= mpmath.log(mpmath.det(cov)) / 2
            gain = p * z.T * inverse
            a, p = a + gain * v, p - gain * z * p
            keep = mpmath.eye(h.cols) - gain * z
            step |= {"u": z.T * inverse * v, "n": z.T * inverse * z}
        else:
            keep = mpmath.eye(h.cols)
            step |= {"u": 0 * a, "n": 0 * p}
        step |= {"filtered": a, "filtered_p": p, "keep": keep}
        steps.append(step)
        a, p = f * a + x["transition_offset"], f * p * f.T + q
    return total, steps


def _smooth(x, steps):
    """Smoothed means, covariances and lag-one covariances by step."""
    f = x["transition_matrix"]
    r, n = 0 * steps[0]["a"], 0 * steps[0]["p"]
    means, covariances, lag_one = [], [], []
    for t in reversed(range(len(steps))):
        step = steps[t]
        if t + 1 < len(steps):
            cross = f * step["filtered_p"]
            lag_one.append(cross - steps[t + 1]["p"] * n * cross)
        r, n = f.T * r, f.T * n * f
        means.append(step["filtered"] + step["filtered_p"] * r)
        covariances.append(step["filtered_p"] - step["filtered_p"] * n * step["filtered_p"])
        r = step["u"] + step["keep"].T * r
        n = step["n"] + step["keep"].T * n * step["keep"]
    return means[::-1], covariances[::-1], lag_one[::-1]


def _run(parameters, y):
    x = _matrices(parameters)
    total, steps = _filter(x, y)
    means, covariances, lag_one = _smooth(x, steps)

    def stack(matrices, squeeze=False):
        arrays = [np.array(m.tolist(), dtype=np.float64) for m in matrices]
        return np.array([a[:, 0] if squeeze else a for a in arrays])

    return {
        "log_likelihood": float(total),
        "filtered_mean": stack([s["filtered"] for s in steps], True),
        "filtered_covariance": stack([s["filtered_p"] for s in steps]),
        "predicted_mean": stack([s["a"] for s in steps], True),
        "predicted_covariance": stack([s["p"] for s in steps]),
        "innovation_covariance": stack([s["s"] for s in steps]),
        "smoothed_mean": stack(means, True),
        "smoothed_covariance": stack(covariances),
        "lag_one_covariance": stack(lag_one).reshape(-1, *stack(covariances).shape[1:]),
    }
