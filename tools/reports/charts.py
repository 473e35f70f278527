# SPDX-License-Identifier: MIT
"""Charts as SVG, drawn by matplotlib: lines over two axes, and rows of marks along one. Each picture stands on a light card
of its own, so that it can be read on a page of any colour; its words stay text."""

import io
import re

INK, FAINT, GRID, EDGE = "#1f2328", "#59636e", "#e4e8ec", "#d1d9e0"
COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df")
LIMIT = "#cf222e"
MARKS = (("target", LIMIT, "|", 14), ("best of others", FAINT, "D", 7), ("dmasync", COLOURS[0], "o", 8))
DPI = 72  # of SVG: a point is a pixel
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "dmasync",  # text as text; the same file for the same figures
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 11,
    "axes.titlesize": 13, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 14,
    "axes.edgecolor": FAINT, "axes.labelcolor": FAINT, "axes.titlecolor": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 1,
    "xtick.color": FAINT, "ytick.color": FAINT, "legend.frameon": False, "legend.fontsize": 10, "lines.linewidth": 2,
    "lines.markersize": 5, "figure.constrained_layout.use": True,
}
BASES = {"decades": 10, "doublings": 2}


def missing():
    """Why nothing can be drawn here; empty when it can."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return "there is no matplotlib; Debian and Ubuntu: apt-get install python3-matplotlib"
    return ""


def scale(axes, which, kind):
    """Linear axes begin at zero; `decades` and `doublings` have a tick at each."""
    from matplotlib import ticker

    if kind == "linear":
        return
    getattr(axes, f"set_{which}scale")("log", base=BASES[kind])
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(ticker.LogLocator(BASES[kind], numticks=20))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}" if value < 1e6 else f"{value / 1e6:g} million"))
    axis.set_minor_locator(ticker.NullLocator())


class Lines:
    """Some lines over two axes."""

    def __init__(self, title, x, y, size=(640, 360)):
        """`x` and `y`: what an axis is labelled with, and its kind: linear from zero, decades or doublings."""
        self.title, self.x, self.y = title, x, y
        self.width, self.height = size
        self.lines = []

    def add(self, name, points):
        colour = COLOURS[sum(1 for line in self.lines if "marker" in line[2])]
        self.lines.append((name, points, {"color": colour, "marker": "o"}))

    def limit(self, name, points):
        """Something that should not be exceeded."""
        self.lines.append((name, points, {"color": LIMIT, "linestyle": (0, (4, 3)), "linewidth": 1.5}))

    def draw(self, axes):
        for name, points, how in self.lines:
            axes.plot(*zip(*points), label=name, **how)
        axes.set(title=self.title, xlabel=self.x[0], ylabel=self.y[0])
        scale(axes, "x", self.x[1])
        scale(axes, "y", self.y[1])
        if self.y[1] == "linear":
            axes.set_ylim(bottom=0, top=1.08 * max(value for _, points, _ in self.lines for _, value in points))
        axes.legend(loc="best")


class Rows:
    """Marks along one axis of decades, in rows that have names. What is not above zero has its mark at the axis' end."""

    def __init__(self, title, label, rows, width=760):
        """`rows`: a name, what is written of it, and for each of MARKS a value or None."""
        self.title, self.label, self.rows = title, label, rows
        self.width, self.height = width, 128 + 26 * len(rows)

    def draw(self, axes):
        from matplotlib import ticker

        low = min((v for *_, values in self.rows for v in values if v is not None and v > 0), default=1) / 1.3
        for i, (name, colour, mark, size) in enumerate(MARKS):
            marks = [(max(values[i], low), row) for row, (*_, values) in enumerate(self.rows) if values[i] is not None]
            filled = "white" if mark == "D" else colour
            axes.plot(*(zip(*marks) if marks else ([], [])), mark, label=name, color=colour, markersize=size,
                      markerfacecolor=filled, markeredgewidth=2, clip_on=False, zorder=3 + i)
        scale(axes, "x", "decades")
        axes.set_xlim(left=low)
        axes.set(xlabel=self.label, ylim=(len(self.rows) - 0.4, -0.6))
        axes.set_title(self.title, pad=34)
        axes.yaxis.set_major_locator(ticker.FixedLocator(range(len(self.rows))))
        axes.set_yticklabels([name for name, *_ in self.rows], color=INK)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        for row, (_, written, _) in enumerate(self.rows):
            axes.annotate(written, (1.03, row), xycoords=("axes fraction", "data"), va="center", color=INK)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(MARKS), borderaxespad=0.3, handletextpad=0.3)


def picture(*charts):
    """One SVG of charts side by side."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure((sum(c.width for c in charts) / DPI, max(c.height for c in charts) / DPI), dpi=DPI, facecolor="white",
                        edgecolor=EDGE, linewidth=2)
        figure.get_layout_engine().set(w_pad=0.2, h_pad=0.2)
        for chart, axes in zip(charts, figure.subplots(1, len(charts), squeeze=False)[0]):
            chart.draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Title": "; ".join(c.title for c in charts)})
    return re.sub(r"[ \t]+$", "", out.getvalue(), flags=re.MULTILINE)
