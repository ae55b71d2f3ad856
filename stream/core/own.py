"""What users bring along: learners and features of their own, found by name."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.core.wire import AnyTransaction
from stream.events import MAX_AMOUNT
from stream.settings import OwnError

Column = NDArray[np.float64]


def said(error: Exception) -> str:
    """Return what went wrong in a user's code, and in which line of which file."""
    if isinstance(error, SyntaxError):  # says so itself
        return f"{type(error).__name__}: {error}"
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"


def named(name: str, what: str) -> Any:
    """Return what `package.module:name` stands for; raise `OwnError` where that is nothing."""
    module, _, attribute = name.partition(":")
    try:
        if not module or module.startswith("."):
            raise ModuleNotFoundError("it names no module")
        return getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise OwnError(
            f"{what} {name!r} cannot be found: {type(error).__name__}: {error}. Give "
            "package.module:name, importable from where you start Weir (PYTHONPATH)"
        ) from error
    except Exception as error:  # whatever their module does when it is imported
        raise OwnError(f"{what} {name!r} failed when it was loaded: {said(error)}") from error


class OwnFeatures:
    """Features of the user's own: a table of names and functions of one transaction.

    A function sees the transaction as it came and remembers nothing, so that scores stay
    reproducible. What is no number within 1e12 counts as 0; a function that raises stops Weir, with
    the name of the feature and the transaction: a feature that is silently wrong is worse.

    Parameters
    ----------
    table
        ``package.module:TABLE``, a mapping of names to functions; None: no features.

    Raises
    ------
    OwnError
        The table cannot be found, or is none, or a function of it has failed.

    Examples
    --------
    >>> OwnFeatures(None).names
    ()
    """

    def __init__(self, table: str | None) -> None:
        self._table = table
        found = {} if table is None else named(table, "features")
        if not isinstance(found, Mapping) or not all(map(callable, found.values())):
            raise OwnError(
                f"features {table!r} is {type(found).__name__}: give a mapping of names to "
                "functions that take a transaction and return a number"
            )
        self._functions: dict[str, Callable[[AnyTransaction], float]] = dict(found)
        self.names = tuple(self._functions)

    def columns(self, batch: Sequence[AnyTransaction]) -> list[Column]:
        """Return one column of shape (n,) per feature."""
        return [
            np.array([self._value(name, function, tx) for tx in batch], dtype=np.float64)
            for name, function in self._functions.items()
        ]

    def _value(
        self, name: str, function: Callable[[AnyTransaction], float], tx: AnyTransaction
    ) -> float:
        try:
            value = float(function(tx))
        except Exception as error:
            raise OwnError(
                f"feature {name!r} of {self._table} failed on transaction {tx.transaction_id!r}: "
                f"{said(error)}"
            ) from error
        return value if abs(value) <= MAX_AMOUNT else 0.0
