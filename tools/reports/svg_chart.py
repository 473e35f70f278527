# SPDX-License-Identifier: MIT
"""Charts as SVG: lines over two axes, and rows of marks along one. Each stands on a light card of its own, so that it can be
read on a page of any colour."""

import html
import math

FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
INK, FAINT, GRID, CARD, EDGE = "#1f2328", "#59636e", "#e4e8ec", "#ffffff", "#d1d9e0"
COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df")
LIMIT = "#cf222e"
SIZE = 13  # of letters


def width_of(text, size=SIZE):
    """About as wide as a sans-serif writes it."""
    return sum(0.3 if c in "ijl.,:;'|()[]! " else 0.85 if c in "mwMW" else 0.58 for c in text) * size


def number(value):
    return f"{value:.1f}".rstrip("0").rstrip(".")


def text(x, y, content, anchor="start", colour=INK, size=SIZE, more=""):
    return (f'<text x="{number(x)}" y="{number(y)}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"{more}>'
            f"{html.escape(content)}</text>")


def stroke(x1, y1, x2, y2, colour, width=1.0, dashed=False):
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return (f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" stroke="{colour}" '
            f'stroke-width="{width}"{dashes}/>')


def shown(value):
    """As a label of a tick: without digits that say nothing."""
    return f"{value:g}"


def decade(value):
    """A power of ten: as such from a thousand on."""
    exponent = round(math.log10(value))
    if -3 < exponent < 3:
        return shown(10.0**exponent)
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


class Axis:
    """Where values are on a line from 0 to 1. `kind`: linear from zero, decades or doublings. One that is `tight` ends at the
    last value, though there be no tick."""

    def __init__(self, label, values, kind="linear", tight=False):
        self.label = label
        self.kind = kind
        low, high = min(values), max(values)
        if kind == "linear":
            step = self.step(high)
            self.low, self.high = 0.0, high if tight else step * math.ceil(high / step - 1e-9)
            self.ticks = [i * step for i in range(math.floor(self.high / step + 1e-9) + 1)]
            self.labels = [shown(round(t, 9)) for t in self.ticks]
            return
        base = 10.0 if kind == "decades" else 2.0
        first = math.floor(math.log(low, base) + 1e-9)
        last = max(math.ceil(math.log(high, base) - 1e-9), first + 1)
        self.low, self.high = base**first, base**last
        self.ticks = [base**i for i in range(first, last + 1)]
        self.labels = [decade(t) if kind == "decades" else shown(t) for t in self.ticks]

    @staticmethod
    def step(high):
        """Of ticks: 1, 2 or 5 times a power of ten, about five in all."""
        rough = high / 5 or 1.0
        power = 10.0 ** math.floor(math.log10(rough))
        return next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)

    def at(self, value):
        if self.kind == "linear":
            return (value - self.low) / (self.high - self.low)
        return math.log(value / self.low) / math.log(self.high / self.low)


def legend(entries, left, right, y):
    """Returns: the drawing, and where what is below it may begin. `entries`: name, colour, what is drawn: line, dashes, or
    the function of a mark."""
    out, x = [], left
    for name, colour, how in entries:
        needed = 34 + width_of(name)
        if x > left and x + needed > right:
            x, y = left, y + 20
        if callable(how):
            out.append(how(x + 11, y - 4, colour))
        else:
            out.append(stroke(x, y - 4, x + 22, y - 4, colour, 2, how == "dashes"))
        out.append(text(x + 28, y, name, colour=FAINT))
        x += needed + 14
    return out, y


def dot(x, y, colour, radius=3.5):
    return f'<circle cx="{number(x)}" cy="{number(y)}" r="{radius}" fill="{colour}"/>'


def bar(x, y, colour):
    return stroke(x, y - 8, x, y + 8, colour, 2.5)


def diamond(x, y, colour):
    return (f'<path d="M{number(x)} {number(y - 5.5)}l5.5 5.5l-5.5 5.5l-5.5 -5.5z" fill="{CARD}" stroke="{colour}" '
            'stroke-width="2"/>')


class Lines:
    """Some lines over two axes."""

    def __init__(self, title, x, y, size=(640, 360)):
        """`x` and `y`: what an axis is labelled with, and its kind."""
        self.title, self.x, self.y = title, x, y
        self.width, self.height = size
        self.lines = []

    def add(self, name, points, marks=True):
        self.lines.append((name, points, COLOURS[sum(1 for l in self.lines if l[2] != LIMIT)], marks, False))

    def limit(self, name, points):
        """Something that should not be exceeded."""
        self.lines.append((name, points, LIMIT, False, True))

    def draw(self):
        xs = [p[0] for line in self.lines for p in line[1]]
        ys = [p[1] for line in self.lines for p in line[1]]
        x, y = Axis(self.x[0], xs, self.x[1], tight=True), Axis(self.y[0], ys, self.y[1])
        left = 34 + max(map(width_of, y.labels))
        right = self.width - 24
        out = [text(16, 28, self.title, size=15, more=' font-weight="600"')]
        keys, top = legend([(n, c, "dashes" if d else "line") for n, _, c, _, d in self.lines], 16, right, 52)
        top, bottom = top + 18, self.height - 50
        out += keys

        def place(point):
            return left + x.at(point[0]) * (right - left), bottom - y.at(point[1]) * (bottom - top)

        for tick, label in zip(y.ticks, y.labels):
            level = place((x.low, tick))[1]
            out += [stroke(left, level, right, level, GRID), text(left - 7, level + 4, label, "end", FAINT)]
        for tick, label in zip(x.ticks, x.labels):
            column = place((tick, y.low))[0]
            out += [stroke(column, top, column, bottom, GRID), text(column, bottom + 19, label, "middle", FAINT)]
        out.append(stroke(left, bottom, right, bottom, FAINT))
        out.append(text((left + right) / 2, self.height - 12, x.label, "middle", FAINT))
        middle = number((top + bottom) / 2)
        out.append(text(0, 0, y.label, "middle", FAINT, more=f' transform="translate(18 {middle}) rotate(-90)"'))
        for _, points, colour, marks, dashed in self.lines:
            placed = [place(p) for p in points]
            dashes = ' stroke-dasharray="5 4"' if dashed else ""
            out.append(f'<polyline points="{" ".join(f"{number(a)},{number(b)}" for a, b in placed)}" fill="none" '
                       f'stroke="{colour}" stroke-width="2" stroke-linejoin="round"{dashes}/>')
            out += [dot(a, b, colour) for a, b in placed if marks]
        return out


class Rows:
    """Marks along one axis of decades, in rows that have names. What is not above zero has its mark at the axis' end."""

    MARKS = (("target", LIMIT, bar), ("best of others", FAINT, diamond), ("dmasync", COLOURS[0], dot))

    def __init__(self, title, label, rows, width=760):
        """`rows`: a name, what is written of it, and for each of MARKS a value or None."""
        self.title, self.label, self.rows = title, label, rows
        self.width, self.height = width, 128 + 30 * len(rows)

    def draw(self):
        axis = Axis(self.label, [v for *_, values in self.rows for v in values if v is not None and v > 0], "decades")
        left = 28 + max(width_of(name) for name, *_ in self.rows)
        right, top, bottom = self.width - 66, 76, self.height - 52
        out = [text(16, 28, self.title, size=15, more=' font-weight="600"')]
        keys, _ = legend(self.MARKS, 16, right, 52)
        out += keys
        for tick, label in zip(axis.ticks, axis.labels):
            x = left + axis.at(tick) * (right - left)
            out += [stroke(x, top, x, bottom, GRID), text(x, bottom + 19, label, "middle", FAINT)]
        out.append(text((left + right) / 2, self.height - 12, axis.label, "middle", FAINT))
        out.append(text(self.width - 14, top - 6, "dmasync", "end", FAINT, 11))
        for i, (name, written, values) in enumerate(self.rows):
            y = top + 15 + 30 * i
            out += [text(left - 12, y + 4, name, "end"), stroke(left, y, right, y, GRID)]
            for value, (_, colour, mark) in zip(values, self.MARKS):
                if value is not None:
                    out.append(mark(left + axis.at(max(value, axis.low)) * (right - left), y, colour))
            out.append(text(self.width - 14, y + 4, written, "end"))
        return out


def picture(*charts):
    """One SVG of charts side by side."""
    width, height = sum(c.width for c in charts), max(c.height for c in charts)
    title = html.escape("; ".join(c.title for c in charts))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           f'role="img" aria-label="{title}" font-family="{FONT}">',
           f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="{CARD}" stroke="{EDGE}"/>']
    x = 0
    for c in charts:
        out += [f'<g transform="translate({x} 0)">', *c.draw(), "</g>"]
        x += c.width
    return "\n".join([*out, "</svg>"]) + "\n"
