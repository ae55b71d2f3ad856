"""How a picture is drawn: as SVG text that takes its colours and fonts from the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that stand for variables of the style sheet: replaced in the finished SVG.
INK, MUTED, GRID, PAPER = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
SERIES = tuple(f"#0a0c{i:02x}" for i in range(8))
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"} | {
    colour: f"s{i}" for i, colour in enumerate(SERIES)
}
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.hashsalt": "weir",  # the same data, the same page
    "svg.fonttype": "none",  # texts stay texts, in the font of the page
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.left": False,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def picture(name: str, title: str, draw: Callable[[Axes], None], width: float = 5.6) -> str:
    """Draw, and return an SVG element whose ids begin with `name`."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, 3.4), layout="constrained")
        draw(figure.add_subplot())
        into = io.StringIO()
        figure.savefig(into, format="svg", transparent=True, metadata={"Date": None})
    return _inlined(into.getvalue(), name, title)


def _inlined(svg: str, name: str, title: str) -> str:
    """The SVG as part of a page: no prolog, ids of its own, colours of the page's style sheet."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    name = f"{name}-{crc32(svg.encode()):08x}"  # a page may hold several of a kind
    svg = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", svg)
    svg = re.sub(r' id="', f' id="{name}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\1{name}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    view = re.search(r'viewBox="[^"]+"', svg)
    opening = f'<svg {view[0] if view else ""} role="img" aria-label="{title}">'
    svg = svg[svg.index(">") + 1 :].replace("xlink:href", "href")
    return opening + svg.rstrip()


def powers(axes: Axes, which: str) -> None:
    """Write powers of ten as plain numbers: no superscripts, which would need a font of their own.

    Where the range holds less than two of them, the steps between are written too.
    """
    for axis in (axes.xaxis if side == "x" else axes.yaxis for side in which):
        low, high = axis.get_view_interval()
        few = np.floor(np.log10(high)) - np.ceil(np.log10(low)) < 2
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=9))
        axis.set_major_formatter(
            FuncFormatter(lambda value, _: np.format_float_positional(value, trim="-"))
        )
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())


def series(count: int) -> Sequence[str]:
    """Return the names of the style sheet's colours of so many series."""
    return [f"s{i % len(SERIES)}" for i in range(count)]
