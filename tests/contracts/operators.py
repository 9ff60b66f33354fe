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


def _representatives():
    """The forms that are marked, or else the first whose name begins with the same word."""
    marked = {op.name.split("-")[0] for op in OPERATORS if op.representative}
    for op in OPERATORS:
        word = op.name.split("-")[0]
        if op.representative or word not in marked:
            marked.add(word)
            yield op


REPRESENTATIVES: tuple[Operator, ...] = tuple(_representatives())
