"""The Kalman filter and the log-likelihood it computes."""

from statespace.kalman.inference import apply_on_failure, finish_result, prepare, with_constant
from statespace.kalman.results import FilterResult
from statespace.linalg_ops.arguments import check_choice


def log_likelihood(
    ssm,
    y,
    *,
    mask=None,
    lengths=None,
    algorithm="auto",
    per_step=False,
    diffuse_constant="include",
    memory="auto",
    on_failure="nan",
):
    """log p(y) of a linear-Gaussian state-space model.

    One fused op runs the whole recursion; the gradient, for y and every parameter of the model, is
    a second one, the score recursion, derived in the guide "Filter, smoother and gradient".

    Args:
      ssm: a :class:`statespace.LinearGaussianSSM`.
      y: data ``[..., T, m]`` with the model's dtype. NaN marks a missing component.
      mask: bool ``[..., T]`` or ``[..., T, m]``, True = observed; None: all that is not NaN.
      lengths: int, broadcasts against the data's batch shape ``[...]``: the number of steps of each
        series; what follows is padding, as if masked. None: all T.
      algorithm: the form of the recursion, one of ``statespace.kalman.ALGORITHMS``. The guide
        "Kalman filters and smoothers" says when which, and what "auto", the default, chooses.
      diffuse_constant: whether the log-likelihood of a model with diffuse states includes the
        -1/2 log(2 pi) of each observation that met one: "include" (Stata, statsmodels) or
        "exclude" (KFAS).
      per_step: return log p(y_t | y_0 .. y_{t-1}) instead of their sum.
      memory: what the gradient keeps of each series: the predicted moments of every step, or, with
        "low", of every sqrt(T)-th step, from which it runs the filter a second time. "auto" does
        that where the series is so long that it is also faster. The forms "parallel" and
        "reference" know no "low", without the compiled library it changes nothing, and second
        derivatives keep every step.
      on_failure: "nan": a series whose innovation covariance is not positive definite, or whose
        numbers are not finite, becomes NaN and spoils no other; "raise": InvalidArgumentError
        with batch index and step (not inside XLA, which cannot raise).

    Returns:
      ``[...]``, or ``[..., T]`` with ``per_step``: the data's batch shape, broadcast with that of
      the parameters. A step, or a series, with nothing observed contributes 0.

    Raises:
      ValueError: shapes or dtypes do not fit; the message names the argument.
      tf.errors.InvalidArgumentError: a shape that was not known statically does not fit, or the
        filter failed and ``on_failure="raise"``.

    References:
      Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., sections 4.3, 7.2.

    Example:

      >>> import numpy as np, statespace as ss
      >>> ssm = ss.LinearGaussianSSM([[1.0]], [[1.0]], [[1.0]], [[1.0]], [0.0], [[1.0]])
      >>> y = np.array([[0.5], [np.nan], [1.0]])
      >>> print(f"{ss.log_likelihood(ssm, y):.6f}")
      -2.953689
    """
    form, inputs = prepare("log_likelihood", ssm, y, mask, lengths, algorithm, on_failure)
    run = form.per_step if per_step else form.log_likelihood
    values, info, *count = run(*inputs, **_memory(memory, algorithm))
    values = with_constant("log_likelihood", diffuse_constant, values, *count)
    return apply_on_failure("log_likelihood", on_failure, info, values)


def _memory(memory, algorithm):
    check_choice("log_likelihood", "memory", memory, ("auto", "low"))
    if memory == "auto":
        return {}
    if algorithm in ("parallel", "reference"):
        raise ValueError(
            f"log_likelihood: memory is 'low', but algorithm {algorithm!r} keeps every step. Use "
            f"another algorithm for long series."
        )
    return {"low_memory": True}


def kalman_filter(
    ssm,
    y,
    *,
    mask=None,
    lengths=None,
    scales=True,
    algorithm="auto",
    diffuse_constant="include",
    on_failure="nan",
) -> FilterResult:
    """Filtered and predicted moments of the states.

    The guide "Kalman filters and smoothers" says what each form of the recursion costs and can do.

    Args:
      ssm, y, mask, lengths, algorithm, diffuse_constant, on_failure: as for
        :func:`statespace.log_likelihood`.
      scales: bool, whether the square-root form returns scales. Without them the graph of its
        gradient is many times smaller, and so is the time that ``tf.function`` takes to make it.

    Returns:
      A :class:`statespace.FilterResult`. ``predicted_mean[..., t, :]`` is E[x_t | y_0 .. y_{t-1}];
      t = 0 is the prior. With ``algorithm="square_root"`` also lower triangular factors of the
      covariances, the scales.

    Raises:
      ValueError, tf.errors.InvalidArgumentError: as :func:`statespace.log_likelihood`.

    References:
      Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., section 4.3.

    Example:

      >>> import numpy as np, statespace as ss
      >>> ssm = ss.LinearGaussianSSM([[1.0]], [[0.5]], [[1.0]], [[1.0]], [0.0], [[10.0]])
      >>> result = ss.kalman_filter(ssm, np.array([[1.0], [1.2], [np.nan], [0.7]]))
      >>> print(np.round(result.filtered_mean[:, 0], 2))
      [0.99 1.11 1.11 0.9 ]
    """
    form, inputs = prepare("kalman_filter", ssm, y, mask, lengths, algorithm, on_failure)
    result = form.run_filter(*inputs, scales=scales)
    return finish_result("kalman_filter", diffuse_constant, on_failure, result)
