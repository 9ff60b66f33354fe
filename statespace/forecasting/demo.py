"""``statespace demo``: two classic series from data to forecast, checked against the literature."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from statespace import datasets
from statespace.forecasting.summary import aligned, estimates, notes
from statespace.kalman.filter import log_likelihood
from statespace.kalman.forecast import forecast
from statespace.kalman.smoother import kalman_smoother
from statespace.models import LocalLevel, LocalLinearTrend, Seasonal

_HORIZON = 12
_LEVEL = 0.9

# Durbin and Koopman (2012), chapter 2; the digits beyond the book's from KFAS and statsmodels.
_NILE_SCALES = {"irregular.scale": np.sqrt(15099.0), "level.scale": np.sqrt(1469.1)}
_NILE_PUBLISHED = {
    "log-likelihood, initial variance 1e7": -641.5855784595,
    "log-likelihood, diffuse": -633.4645636489,
    "smoothed level 1871": 1111.66831913,
    "smoothed level 1872": 1110.85766462,
    "smoothed level 1873": 1105.26556731,
    "its variance 1871": 4032.15794181,
    "its variance 1872": 3242.93007322,
    "its variance 1873": 2818.94217005,
    "forecast": 798.37029261,
    "its variance 1 year ahead": 20600.25794181,
    "its variance 10 years ahead": 33822.15794181,
    "its variance 30 years ahead": 63204.15794181,
}
_NILE_ESTIMATES = {
    "irregular.scale squared": 15098.5363,
    "level.scale squared": 1469.1732,
    "log-likelihood, diffuse": -633.4645636363,
}


def run(folder):
    """Fits both series, prints what there is to see and writes two figures.

    Args:
      folder: where the figures go; made if it does not exist.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _nile(folder / "nile.png")
    print()
    _air_passengers(folder / "air_passengers.png")


def _nile(path):
    flow = datasets.nile()
    print("Annual flow of the Nile at Aswan, 1871-1970, in 10^8 cubic metres")
    result = LocalLevel().fit(flow)
    ahead = result.forecast(_HORIZON)
    _report(result, ahead.to_frame(_LEVEL))

    print("\nThe published numbers, at the variances 15099 and 1469.1")
    _compare(_NILE_PUBLISHED, _nile_at_published_variances(flow.to_numpy()))
    print("\nand at the maximum of the likelihood, where the last digits depend on the optimiser")
    squares = {f"{name} squared": value**2 for name, value in result.params.items()}
    _compare(_NILE_ESTIMATES, {**squares, "log-likelihood, diffuse": result.log_likelihood})

    ax = result.plot(level=_LEVEL)
    ahead.plot(ax, history=False)
    ax.set_title("The Nile at Aswan: smoothed level and forecast", loc="left")
    ax.set_ylabel("Annual flow (10⁸ m³)")
    ax.figure.savefig(path, dpi=150)
    plt.close(ax.figure)
    print(f"\nWrote {path}")


def _nile_at_published_variances(flow):
    """The quantities of the table, from the library's functions on one model."""
    y = flow[:, np.newaxis]
    proper = LocalLevel().build(_NILE_SCALES, initial_variance=1e7)
    diffuse = LocalLevel().build(_NILE_SCALES)
    smoothed = kalman_smoother(diffuse, y)
    ahead = forecast(diffuse, y, 30)
    quantities = (
        float(log_likelihood(proper, y)),
        float(log_likelihood(diffuse, y)),
        *smoothed.smoothed_mean.numpy()[:3, 0],
        *smoothed.smoothed_covariance.numpy()[:3, 0, 0],
        ahead.observation_mean.numpy()[0, 0],
        *ahead.observation_covariance.numpy()[[0, 9, 29], 0, 0],
    )
    return dict(zip(_NILE_PUBLISHED, quantities, strict=True))


def _air_passengers(path):
    passengers = datasets.air_passengers()
    print("International airline passengers, 1949-1960, in thousands; model of their logarithm")
    result = (LocalLinearTrend() + Seasonal(12)).fit(np.log(passengers))
    ahead = result.forecast(_HORIZON)
    _report(result, ahead.to_frame(_LEVEL, transform=np.exp))

    fig, axes = plt.subplots(
        4, 1, figsize=(9, 10), sharex=True, layout="constrained", height_ratios=(3, 1, 1, 1)
    )
    result.forecast(24).plot(axes[0], transform=np.exp)
    axes[0].set_title("International airline passengers and forecast for two years", loc="left")
    axes[0].set_ylabel("Passengers a month (thousands)")
    result.plot_components(axes[1:], level=_LEVEL)
    for ax, band in zip(
        axes[1:], (f" ({_LEVEL:.0%} band)", f" ({_LEVEL:.0%} band)", ""), strict=True
    ):
        title = f"{ax.get_title(loc='left')}, in logarithms{band}"
        ax.set_title(title, loc="left", fontsize="medium")
    fig.savefig(path, dpi=150)
    plt.close(fig)
    print(f"\nWrote {path}")


def _report(result, table):
    print(f"Model: {result.model!r} plus observation noise, maximum likelihood\n")
    print("\n".join(estimates(result)))
    print(
        f"\nlog-likelihood {result.log_likelihood:.4f} (diffuse start)   AIC {result.aic:.2f}   "
        f"BIC {result.bic:.2f}"
    )
    for note in notes(result):
        print(f"Note: {note}")
    print(f"\nForecast with {_LEVEL:.0%} intervals")
    print(table.to_string(float_format="{:.1f}".format))


def _compare(published, computed):
    rows = [
        [name, f"{value:.6f}", f"{computed[name]:.6f}", f"{computed[name] - value:+.1e}"]
        for name, value in published.items()
    ]
    print("\n".join(aligned(["", "published", "computed", "difference"], rows)))
