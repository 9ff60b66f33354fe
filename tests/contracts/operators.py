"""The table of operators that the contract tests run over.

Each family's rows are in a file of its own, ``rows_<family>.py``: a new one is found by its name.
"""

import importlib
import pkgutil
from pathlib import Path

from contracts.table import Operator

OPERATORS: tuple[Operator, ...] = tuple(
    operator
    for module in pkgutil.iter_modules([str(Path(__file__).parent)])
    if module.name.startswith("rows_")
    for operator in importlib.import_module(f"contracts.{module.name}").OPERATORS
)
