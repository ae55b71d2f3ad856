"""Where transactions and their late labels come from.

    paysim, replay ──▶ rows in event-time order ──▶ order ──▶ publish ──▶ transactions topic
                                 └──▶ labels (wait) ──┘           └──────▶ labels topic

`rows` is the shape both sources share. `paysim` is the generator: `calibration` holds the
published figures, `population` the clients, `draws` and `traffic` what they do, `fraud` what
fraudsters do, `ledger` the balances, `scenario` what it is asked for. `replay` reads tables, whose
`columns` are known or given. `labels` holds labels until they are due, `order`
says which message leaves before which, `pace` when, `publish` puts them on the bus. `options`
are the flags and `__main__` is the command `weir-produce`.
"""
