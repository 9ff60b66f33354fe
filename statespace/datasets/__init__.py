"""Example series shipped with the package, as pandas objects.

Sources and units are in the folder's ``README.md``.
"""

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["air_passengers", "nile"]


def air_passengers() -> "pd.Series":
    """Returns monthly totals of international airline passengers, 1949–1960.

    Box and Jenkins' series G: a rising trend with a seasonal swing that grows in proportion to
    it, which is why it is usually modelled in logarithms.

    Returns:
      Series ``passengers`` of 144 float64 values, in thousands, on a monthly ``PeriodIndex``.

    References:
      Box, G. E. P. and Jenkins, G. M. (1970). Time Series Analysis: Forecasting and Control.
      Holden-Day, series G.

    Example:
      >>> float(air_passengers().iloc[0])
      112.0
    """
    return _read("air_passengers.csv", frequency="M")


def nile() -> "pd.Series":
    """Returns the annual flow of the Nile at Aswan, 1871–1970.

    Returns:
      Series ``volume`` of 100 float64 values, in 10⁸ m³, on a yearly ``PeriodIndex``.

    References:
      Cobb, G. W. (1978). The problem of the Nile: conditional solution to a change-point
      problem. Biometrika 65, 243–251.

      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition. Oxford University Press, chapter 2.

    Example:
      >>> float(nile().iloc[0])
      1120.0
    """
    return _read("nile.csv", frequency="Y")


def _read(file_name: str, frequency: str) -> "pd.Series":
    """Reads a two-column file of this folder: period, value."""
    import pandas as pd

    with resources.files(__package__).joinpath(file_name).open(encoding="utf-8") as file:
        table = pd.read_csv(file, dtype={0: str})
    period, value = table.columns
    index = pd.PeriodIndex(table[period], freq=frequency, name=period)
    return pd.Series(table[value].to_numpy(dtype="float64"), index=index, name=value)
