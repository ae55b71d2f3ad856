"""River's own checks of an estimator, for the tests of each."""

from __future__ import annotations

import pytest
from river import base
from river.checks import yield_checks

LEFT_OUT = {"check_bounded_memory_growth"}
"""It takes longest, and a model that keeps every example passes it."""


def checked(*models: base.Estimator) -> pytest.MarkDecorator:
    """Ask a test of `model` and `check` once for each check of each of these."""
    return pytest.mark.parametrize(
        ("model", "check"),
        [
            pytest.param(model, check, id=f"{type(model).__name__}-{check.__name__}")
            for model in models
            for check in yield_checks(model)
            if check.__name__ not in LEFT_OUT
        ],
    )
