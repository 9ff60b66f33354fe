"""Diagnostics as plain text."""

import numpy as np

from statespace.forecasting.summary import aligned

_MOST_ROWS = 20  # of a table over many series; the rest are counted
_SIGNIFICANT = 0.05
_THRESHOLD = 3.0  # beyond which auxiliary residuals are listed
_MOST_SHOCKS = 3  # of one disturbance; the rest are counted


def summary(diagnostics) -> str:
    """Says what the tests and the auxiliary residuals say.

    Args:
      diagnostics: a :class:`statespace.forecasting.diagnostics.Diagnostics`.
    """
    several = diagnostics.standardised.shape[0] > 1 or diagnostics.standardised.shape[2] > 1
    return "\n".join(_several(diagnostics) if several else _one(diagnostics))


def _one(diagnostics):
    standardised, tests = diagnostics.standardised, _tests(diagnostics)
    [label] = diagnostics.layout.labels()
    rows = [
        [f"are {question}", name, f"{test.statistic:.4g}", f"{test.p_value:.3f}"]
        for question, name, test in tests
    ]
    count = np.count_nonzero(~np.isnan(standardised))
    mean, lower, upper, _ = diagnostics.nis
    return [
        f"{label}: {count} innovations (errors of the predictions one step ahead) in "
        f"{standardised.size} steps",
        "",
        *aligned(["the innovations", "test", "statistic", "p-value"], rows),
        f"mean normalised innovation squared {mean:.3f}; 95 % of right models lie between "
        f"{lower:.3f} and {upper:.3f}",
        "",
        *_findings(diagnostics, tests),
        *_shocks(diagnostics),
    ]


def _tests(diagnostics):
    """What is asked of the innovations, the name of the test, and the test."""
    variance = diagnostics.heteroscedasticity
    return [
        ("uncorrelated", f"Ljung-Box, {diagnostics.lags} lags", diagnostics.ljung_box),
        ("normally distributed", "Jarque-Bera", diagnostics.jarque_bera),
        ("of one variance", f"H({np.max(variance.degrees_of_freedom)})", variance),
    ]


def _findings(diagnostics, tests):
    """What is wrong, in sentences."""
    correlation, normality, variance = (test.p_value < _SIGNIFICANT for _, _, test in tests)
    mean, lower, upper, _ = diagnostics.nis
    grows = diagnostics.heteroscedasticity.statistic > 1
    findings = {
        "The innovations are correlated: the model misses a pattern in time.": correlation,
        "The innovations are not normal: intervals of high probability may be wrong. Outliers and "
        "level breaks are often the reason.": normality,
        f"The variance {'grows' if grows else 'falls'}: a transformation such as the logarithm, or "
        f"fewer years of data, may help.": variance,
        "The errors are larger than the model says: its intervals are too narrow.": mean > upper,
        "The errors are smaller than the model says: its intervals are too wide.": mean < lower,
    }
    found = [sentence for sentence, true in findings.items() if true]
    return found or ["The tests find nothing wrong at the level of 5 %."]


def _shocks(diagnostics):
    """Lines with the outliers and the breaks of every state that has noise."""
    residuals, lines = diagnostics.auxiliary_residuals, []
    text = dict(zip(residuals.times(0), residuals.time_names(0), strict=True))
    for name in residuals.names:
        listed = [
            f"{text[row.time]} ({row.size:+.4g}, t = {row.statistic:.1f})"
            for row in residuals.shocks([name], _THRESHOLD).itertuples()
        ]
        if len(listed) > _MOST_SHOCKS:
            listed[_MOST_SHOCKS:] = [f"and {len(listed) - _MOST_SHOCKS} more"]
        what = "Outliers" if name == "irregular" else f"Breaks of {name.replace('_', ' ')}"
        if listed:
            lines.append(f"{what}: {', '.join(listed)}")
    return lines or [f"No auxiliary residual exceeds {_THRESHOLD:g}."]


def _several(diagnostics):
    """A table of p-values, a row for each series and variable."""
    table = diagnostics.to_frame()
    names = ["ljung_box", "jarque_bera", "heteroscedasticity"]
    p_values = table[[f"{name}_p_value" for name in names]].to_numpy()
    rows = [
        [
            ", ".join(map(str, key)) if isinstance(key, tuple) else str(key),
            str(count),
            *(f"{p:.3f}" for p in row),
        ]
        for key, count, row in zip(
            table.index[:_MOST_ROWS], table["innovations"], p_values, strict=False
        )
    ]
    header = ["p-values of", "innovations", f"Ljung-Box ({diagnostics.lags} lags)"]
    lines = aligned([*header, "Jarque-Bera", "one variance"], rows)
    if len(table) > _MOST_ROWS:
        lines.append(f"... and {len(table) - _MOST_ROWS} more")
    failed = (p_values < _SIGNIFICANT).sum(axis=0)
    return [
        *lines,
        "",
        f"At the level of 5 %, {failed[0]} of {len(table)} are correlated, {failed[1]} are not "
        f"normal and {failed[2]} are of changing variance; of right models 5 % would be.",
    ]
