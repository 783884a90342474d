"""Plots as SVG that is the same every time, follows the reader's light or dark theme and needs no script.

Rectangles, lines, marks and texts in pixels from the top left, so that rows of text and bars fit whatever
their number. Written directly: a plotting library costs 0.6 s in each kernel (matplotlib 3.11), and its
output changes with its version, while an archived picture must stay the same when its notebook is run
again. Colours are CSS variables with a value for light and one for dark; a browser applies
``prefers-color-scheme`` also to an SVG inside ``<img>`` (seen in Chromium 156). A background of its own
keeps a plot readable where a notebook's theme differs from the system's.
"""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Sequence

from markupsafe import escape

from .output import Shown, render

#: role: (light, dark). Texts reach 4.5:1 on paper and band, marks 3:1.
ROLES = {
    "paper": ("#ffffff", "#12161c"),
    "band": ("#f4f6f8", "#1a2028"),
    "ink": ("#1b2128", "#e4e9ef"),
    "soft": ("#59636f", "#9aa5b1"),
    "grid": ("#dde2e7", "#2b333d"),
    "critical": ("#b3261e", "#ff8f85"),
    "warning": ("#8a5a00", "#e8b84a"),
    "ok": ("#1a7340", "#5fce8c"),
    "calm": ("#2b62a8", "#7fb2f0"),
    "on": ("#ffffff", "#12161c"),
}
SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif"
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
ANCHORS = {"left": "", "center": ' text-anchor="middle"', "right": ' text-anchor="end"'}


def _sheet() -> str:
    light, dark = (";".join(f"--{role}:{colours[n]}" for role, colours in ROLES.items()) for n in (0, 1))
    rules = [
        f":root{{{light}}}",
        f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}",
        *(f".{role}{{fill:var(--{role})}}.{role}-l{{stroke:var(--{role})}}" for role in ROLES),
        f"text{{font:12px {SANS}}}",
        f".m{{font-family:{MONO}}}",
        ".b{font-weight:600}.n{fill:none}.d{stroke-dasharray:6 5}",
    ]
    return "".join(rules)


class Drawing:
    """A sheet of ``wide`` × ``high`` pixels to draw on; ``finish`` makes it something to show.

    A role is a name of ``ROLES``. What is drawn later lies above; marks lie above lines and bars, texts above
    marks.
    """

    def __init__(self, wide: float, high: float) -> None:
        self.wide, self.high = wide, high
        self._parts: list[str] = []
        self._texts: list[str] = []
        self._dots: dict[tuple[str, float, bool, str], list[tuple[float, float]]] = {}

    def text(
        self,
        x: float,
        y: float,
        text: str,
        role: str = "ink",
        size: float = 12,
        at: str = "left",
        mono: bool = False,
        bold: bool = False,
    ) -> None:
        """A text whose middle line is at ``y``; ``at`` is left, center or right of ``x``."""
        shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
        names = " ".join([role, *["m"] * mono, *["b"] * bold])
        sized = "" if size == 12 else f' style="font-size:{size:g}px"'
        place = f'x="{_n(x)}" y="{_n(y + 0.36 * size)}"'
        self._texts.append(f'<text {place} class="{names}"{ANCHORS[at]}{sized}>{escape(shown)}</text>')

    def bar(self, x: float, y: float, wide: float, high: float, role: str, edge: str = "") -> None:
        """A filled rectangle from its top left corner, with an edge if a role for it is given."""
        self.bars([(x, y, wide, high)], role, edge)

    def bars(self, areas: Sequence[tuple[float, float, float, float]], role: str, edge: str = "") -> None:
        """Many filled rectangles (x, y, wide, high) of one role."""
        path = "".join(f"M{_n(x)} {_n(y)}h{_n(wide)}v{_n(high)}h{_n(-wide)}z" for x, y, wide, high in areas)
        self._parts.append(f'<path class="{role}{f" {edge}-l" if edge else ""}" d="{path}"/>')

    def box(self, x: float, y: float, wide: float, high: float, role: str, edge: str = "grid") -> None:
        """A rectangle with round corners and an edge."""
        place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(wide)}" height="{_n(high)}"'
        self._parts.append(f'<rect class="{role} {edge}-l" {place} rx="5"/>')

    def line(
        self,
        xs: Sequence[float],
        ys: Sequence[float],
        role: str = "grid",
        thick: float = 1,
        dashed: bool = False,
    ) -> None:
        """A line through points."""
        points = "L".join(f"{_n(x)} {_n(y)}" for x, y in zip(xs, ys, strict=True))
        wide = f' stroke-width="{thick:g}"' if thick != 1 else ""
        self._parts.append(f'<path class="n {role}-l{" d" if dashed else ""}"{wide} d="M{points}"/>')

    def dots(
        self,
        xs: Sequence[float],
        ys: Sequence[float],
        role: str,
        big: float = 7,
        hollow: bool = False,
        mark: str = "o",
    ) -> None:
        """Marks at points, ``big`` pixels across: ``o`` a disc or ring, ``x`` a cross, ``d`` a diamond."""
        held = self._dots.setdefault((role, big, hollow, mark), [])
        held.extend(zip(xs, ys, strict=True))

    def finish(self, alt: str, caption: str = "") -> Shown:
        """The drawing as an image with its description; the description is also its plain text."""
        source = "data:image/svg+xml;base64," + base64.b64encode(self.svg().encode()).decode()
        html = render(
            "plot.html", source=source, alt=alt, caption=caption, wide=round(self.wide), high=round(self.high)
        )
        return Shown(html, alt + (f"\n{caption}" if caption else ""))

    def svg(self) -> str:
        """The drawing as it stands."""
        wide, high = _n(self.wide), _n(self.high)
        head = f'viewBox="0 0 {wide} {high}" width="{wide}" height="{high}"'
        paper = f'<path class="paper" d="M0 0h{wide}v{high}h-{wide}z"/>'
        marks = [_marks(kind, points) for kind, points in self._dots.items()]
        body = "".join([f"<style>{_sheet()}</style>", paper, *self._parts, *marks, *self._texts])
        return f'<svg xmlns="http://www.w3.org/2000/svg" {head}>{body}</svg>'


def _marks(kind: tuple[str, float, bool, str], points: Sequence[tuple[float, float]]) -> str:
    """All marks of one kind as one path."""
    role, big, hollow, mark = kind
    half = big / 2
    if mark == "x":
        shape = f"m{_n(-half)} {_n(-half)}l{_n(big)} {_n(big)}m0 {_n(-big)}l{_n(-big)} {_n(big)}"
    elif mark == "d":
        shape = f"m0 {_n(-half)}l{_n(half)} {_n(half)}l{_n(-half)} {_n(half)}l{_n(-half)} {_n(-half)}z"
    else:
        arc = f"a{_n(half)} {_n(half)} 0 1 0"
        shape = f"m{_n(-half)} 0{arc} {_n(big)} 0{arc} {_n(-big)} 0z"
    path = "".join(f"M{_n(x)} {_n(y)}{shape}" for x, y in points)
    filled = "n" if mark == "x" else "paper" if hollow else role
    return f'<path class="{filled} {role}-l" stroke-width="1.6" d="{path}"/>'


def _n(number: float) -> str:
    """A number with at most two decimals, without trailing zeros."""
    return f"{number:.2f}".rstrip("0").rstrip(".") if number % 1 else f"{number:.0f}"


def wrapped(text: str, columns: int) -> list[str]:
    """A text as lines of at most that many characters."""
    return textwrap.wrap(text, columns) or [""]
