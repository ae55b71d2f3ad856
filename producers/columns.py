"""Which column of a table is which field of a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

NUMBERS = (
    "amount",
    "step",
    "oldbalanceOrg",
    "newbalanceOrig",
    "oldbalanceDest",
    "newbalanceDest",
)
TEXTS = ("transaction_id", "type", "nameOrig", "nameDest")
FIELDS = (*TEXTS, *NUMBERS, "timestamp", "is_fraud")
"""What a column can be mapped to: the fields of a transaction, and the label."""


class TableError(ValueError):
    """A table cannot be replayed: which file, column and row, and what to do."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a table is which field of a transaction.

    `fields` maps a name of `FIELDS` to a column, `constants` to a text that every row gets, and
    `prefixes` to a text put before the column's values. Without a mapped `transaction_id` the id
    is its prefix and the row number, counted from 0.
    """

    fields: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)

    def mapped(self, text: str) -> Columns:
        """Return these columns with `field=COLUMN,...` put over them; `field==TEXT` is a constant.

        A field that is mapped anew loses its prefix. Raises `TableError` for an unknown field.

        >>> COLUMNS["paysim"].mapped("amount=BETRAG,type==PAYMENT").fields["amount"]
        'BETRAG'
        """
        columns, constants, prefixes = dict(self.fields), dict(self.constants), dict(self.prefixes)
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, separator, column = part.partition("=")
            if name not in FIELDS or not column.strip("="):
                raise TableError(
                    f"{part!r} is not a mapping. Write field=COLUMN, or field==TEXT for a text "
                    f"that every row gets; the fields are {', '.join(FIELDS)}."
                )
            for known in (columns, constants, prefixes):
                known.pop(name, None)
            if column.startswith(separator):
                if name not in TEXTS:
                    raise TableError(f"{name} cannot be a constant; {', '.join(TEXTS)} can.")
                constants[name] = column[1:]
            else:
                columns[name] = column
            if name in ("step", "timestamp"):  # one of them is the event time, the newest said
                other = "timestamp" if name == "step" else "step"
                columns.pop(other, None)
        return replace(self, fields=columns, constants=constants, prefixes=prefixes)


COLUMNS: dict[str, Columns] = {
    "paysim": Columns(
        fields={
            "step": "step",
            "type": "type",
            "amount": "amount",
            "nameOrig": "nameOrig",
            "oldbalanceOrg": "oldbalanceOrg",
            "newbalanceOrig": "newbalanceOrig",
            "nameDest": "nameDest",
            "oldbalanceDest": "oldbalanceDest",
            "newbalanceDest": "newbalanceDest",
            "is_fraud": "isFraud",
        },
        prefixes={"transaction_id": "paysim-"},
    ),
    "card": Columns(
        fields={
            "transaction_id": "TRANSACTION_ID",
            "timestamp": "TX_DATETIME",
            "nameOrig": "CUSTOMER_ID",
            "nameDest": "TERMINAL_ID",
            "amount": "TX_AMOUNT",
            "is_fraud": "TX_FRAUD",
        },
        constants={"type": "PAYMENT"},
        prefixes={"transaction_id": "card-", "nameOrig": "C", "nameDest": "T"},
    ),
}
"""Presets: the PaySim table, and the card stream of the Fraud Detection Handbook."""
