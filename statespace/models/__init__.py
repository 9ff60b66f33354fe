"""Models that people fit: structural components, added up with ``+``.

    model = LocalLinearTrend() + Seasonal(12)
    result = model.fit(series)

Every model includes observation noise, so a single component is already a model.
"""

from statespace.models.base import Component, Model, StructuralModel
from statespace.models.seasonal import Seasonal
from statespace.models.trend import LocalLevel, LocalLinearTrend

__all__ = [
    "Component",
    "LocalLevel",
    "LocalLinearTrend",
    "Model",
    "Seasonal",
    "StructuralModel",
]
