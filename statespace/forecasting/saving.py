"""Results of fits in files: ``result.save(path)`` and ``statespace.load(path)``.

A file is a zip archive with a member ``header.json`` and an array of NumPy's own format for each of
the others, ``numpy.load`` opens it. Nothing in it is ever executed: the model is an expression that
is parsed, and arrays of Python objects are refused.
"""

import json
import os
import uuid
import zipfile
import zlib
from importlib import metadata
from pathlib import Path

import numpy as np

from statespace.forecasting.errors import InputError
from statespace.forecasting.expression import can_be_written, parse_model
from statespace.forecasting.likelihood import Problem
from statespace.forecasting.maximum_likelihood import Estimates
from statespace.forecasting.results import FitResult
from statespace.forecasting.saved_layout import (
    read_layout,
    read_names,
    written_layout,
    written_names,
)
from statespace.models.parameters import Parameterisation

SUFFIX = ".statespace"
VERSION = 1  # of the format; raised when older versions of the library could not read it
_FORMAT = "statespace result"
_HEADER = "header.json"
# What damaged archives, text and arrays give rise to.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,  # a method of compression
    OverflowError,
    RuntimeError,  # encrypted
    TypeError,
    ValueError,
)


def save(result, path):
    """Writes a result into a file.

    The file appears under its name when it is complete; until then one that was there before stays
    as it is.

    Args:
      result: a :class:`statespace.forecasting.results.FitResult`.
      path: the file, with the suffix ``.statespace``.

    Raises:
      InputError: the path has another suffix, or the index of the data has a frequency or names
        that cannot be written down.
      OSError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise InputError(
            f"{path}: a file of a result ends in {SUFFIX}, as in "
            f"{path.with_suffix(SUFFIX).name if path.name else 'result' + SUFFIX}."
        )
    header, arrays = _header(result), _arrays(result)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with zipfile.ZipFile(unfinished, "x", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_HEADER, json.dumps(header, indent=1))
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(path, *, model=None, priors=None):
    """Reads a result that ``result.save(path)`` wrote.

    Everything that the result gives is what it gave before, to the last bit: parameters,
    log-likelihood, forecasts, smoothed states, the summary.

    Args:
      path: the file.
      model: the model, where it cannot be written down: ``Custom`` models and classes of your own.
      priors: those that the model was fitted with; a file does not hold the distributions of TFP.
        They matter for standard errors and for nothing else.

    Returns:
      A :class:`statespace.forecasting.results.FitResult`.

    Raises:
      InputError: the file is not that of a result, is damaged or was written by a later version;
        or the model or the priors are needed, or are not those of the fit.
      OSError: the file cannot be read.

    Example:
      >>> import tempfile
      >>> import statespace as ss
      >>> result = ss.models.LocalLevel().fit(ss.datasets.nile(), verbose=0)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     result.save(f"{folder}/nile.statespace")
      ...     again = ss.load(f"{folder}/nile.statespace")
      >>> again.log_likelihood == result.log_likelihood
      True
    """
    header, arrays = _read(path)
    try:
        model = _checked_model(header, model)
        return _result(header, arrays, model, _checked_priors(header, priors))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: the file is damaged ({error!r}).") from None


def _header(result):
    """All of a result but its arrays, in terms of JSON."""
    model, problem = result.model, result.problem
    draws = getattr(result, "draws", None)
    return {
        "format": _FORMAT,
        "version": VERSION,
        "written_by": f"statespace-tf {metadata.version('statespace-tf')}",
        "model": repr(model),
        "model_is_expression": can_be_written(model),
        "parameters": _parameters(model),
        "states": list(model.state_names),
        "method": result.method,
        "share": list(result.share),
        "messages": list(result.estimates.message),
        "layout": written_layout(result.layout),
        "feature_names": written_names(problem.feature_names),
        # Draws from a posterior have no more need of them.
        "priors": None if problem.priors is None or draws else sorted(problem.priors),
        "jacobian": problem.jacobian,
        "chains": getattr(result, "chains", None),
    }


def _arrays(result):
    """The arrays of a result by name."""
    problem, estimates = result.problem, result.estimates
    arrays = {
        "values": problem.values,
        "features": problem.features,
        "times": problem.times,
        "free": estimates.free,
        "log_likelihood": estimates.log_likelihood,
        "converged": estimates.converged,
    }
    if result.start is not None:
        arrays["start/mean"], arrays["start/scale"] = result.start
    groups = {
        "units": problem.units,
        "fixed": problem.fixed,
        "draws": getattr(result, "draws", None) or {},
    }
    for kind, group in groups.items():
        arrays |= {f"{kind}/{name}": value for name, value in group.items()}
    return {name: array for name, array in arrays.items() if array is not None}


def _result(header, arrays, model, priors):
    """The inverse of ``_header`` and ``_arrays``."""
    units, fixed, draws = (
        {
            p.name: arrays[f"{kind}/{p.name}"]
            for p in model.parameters
            if f"{kind}/{p.name}" in arrays
        }
        for kind in ("units", "fixed", "draws")
    )
    problem = Problem(
        model=model,
        parameterisation=Parameterisation(model.parameters, frozenset(fixed)),
        values=arrays["values"],
        units=units,
        fixed=fixed,
        features=arrays.get("features"),
        times=arrays.get("times"),
        feature_names=read_names(header["feature_names"]),
        priors=priors,
        jacobian=header["jacobian"],
    )
    estimates = Estimates(
        free=arrays["free"],
        log_likelihood=arrays["log_likelihood"],
        converged=arrays["converged"],
        message=np.array(header["messages"], object),
    )
    result = FitResult(
        problem=problem,
        layout=read_layout(header["layout"]),
        method=header["method"],
        share=tuple(header["share"]),
        estimates=estimates,
        start=(arrays["start/mean"], arrays["start/scale"]) if "start/mean" in arrays else None,
    )
    if not draws:
        return result
    from statespace.forecasting.posterior import PosteriorResult

    return PosteriorResult(**vars(result), draws=draws, chains=header["chains"])


def _read(path):
    """Header and arrays of a file, checked to be one of ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read(_HEADER))
            if header["format"] != _FORMAT:
                raise KeyError(_FORMAT)
            if header["version"] > VERSION:
                raise InputError(
                    f"{path}: written by {header['written_by']}, a later version in a format that "
                    f"this one does not know. Install that version or a later one."
                )
            arrays = {}
            for name in archive.namelist():
                if name != _HEADER:
                    with archive.open(name) as member:
                        array = np.lib.format.read_array(member, allow_pickle=False)
                    arrays[name.removesuffix(".npy")] = array
            return header, arrays
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: not the file of a result, as result.save(path) writes it, or damaged "
            f"({error})."
        ) from None


def _parameters(model):
    """Names and shapes of the parameters, in terms of JSON."""
    return [[parameter.name, list(parameter.shape)] for parameter in model.parameters]


def _checked_model(header, model):
    """The model given, or the one written down."""
    written = header["model"]
    if model is None and not header["model_is_expression"]:
        raise InputError(
            f"the model, {written}, is of code that a file cannot hold. Make it as it was made for "
            f"the fit, and give it: statespace.load(path, model=...)."
        )
    model = parse_model(written) if model is None else model
    if _parameters(model) != header["parameters"] or list(model.state_names) != header["states"]:
        names, states = [name for name, _ in header["parameters"]], header["states"]
        raise InputError(
            f"the result is of {written} with the parameters {', '.join(names) or 'none'} and the "
            f"states {', '.join(states) or 'none'}; the model {model!r} has others."
        )
    return model


def _checked_priors(header, priors):
    """The priors given, where the fit had some."""
    names, given = header["priors"], sorted(priors or {})
    if given != (names or []):
        raise InputError(
            f"the model was fitted with priors for {', '.join(names or []) or 'no parameter'}, "
            f"which a file does not hold; given were {', '.join(given) or 'none'}. Give the same "
            f"ones: statespace.load(path, priors={{name: distribution}})."
        )
    return None if names is None else dict(priors or {})
