"""The one way to reach a model: `open_model` gives a `Model`, whose `send` is a `Send`."""

from __future__ import annotations

from .budget import Budget, BudgetExhausted, Forecast, Spent, forecast
from .model import Model, open_model
from .names import Target, parse_name
from .settings import ClientSettings, Price, parse_price

__all__ = [
    "Budget",
    "BudgetExhausted",
    "ClientSettings",
    "Forecast",
    "Model",
    "Price",
    "Spent",
    "Target",
    "forecast",
    "open_model",
    "parse_name",
    "parse_price",
]
