"""Plots as SVG that is the same every time, follows the reader's light or dark theme and needs no script.

Matplotlib draws with one stand-in colour for each role (ink, grid, critical …); afterwards each stand-in
becomes a CSS variable, and the style sheet inside the SVG sets the variables for light and dark. A
browser applies ``prefers-color-scheme`` also to an SVG inside ``<img>`` (seen in Chromium 156). A
background of its own keeps a plot readable where a notebook's theme differs from the system's.
Coordinates are pixels from the top left, so that rows of text and bars fit whatever their number.
"""

from __future__ import annotations

import base64
import io
import re
import textwrap

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import text_to_path

from .output import Shown, render

#: role: (stand-in, light, dark). Text roles reach 4.5:1 on their background, marks 3:1.
ROLES = {
    "paper": ("#fe0100", "#ffffff", "#12161c"),
    "band": ("#fe0200", "#f4f6f8", "#1a2028"),
    "ink": ("#fe0300", "#1b2128", "#e4e9ef"),
    "soft": ("#fe0400", "#59636f", "#9aa5b1"),
    "grid": ("#fe0500", "#dde2e7", "#2b333d"),
    "critical": ("#fe0600", "#b3261e", "#ff8f85"),
    "warning": ("#fe0700", "#8a5a00", "#e8b84a"),
    "ok": ("#fe0800", "#1a7340", "#5fce8c"),
    "calm": ("#fe0900", "#2b62a8", "#7fb2f0"),
    "on": ("#fe0a00", "#ffffff", "#12161c"),
}
SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif"
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
DPI = 72  # one point is one pixel


def colour(role: str) -> str:
    """The stand-in colour of a role, to draw with."""
    return ROLES[role][0]


def width(text: str, points: float = 12, mono: bool = False) -> float:
    """The width of a text in pixels in DejaVu Sans, which is wider than what a browser will use: a safe
    bound."""
    font = FontProperties(family="DejaVu Sans Mono" if mono else "DejaVu Sans", size=points)
    return text_to_path.get_text_width_height_descent(text, font, False)[0]


class Drawing:
    """A sheet of ``wide`` × ``high`` pixels to draw on; ``finish`` makes it something to show."""

    def __init__(self, wide: float, high: float) -> None:
        self.wide, self.high = wide, high
        self._dots: dict[tuple[str, float, bool, str], tuple[list[float], list[float]]] = {}
        self.figure = Figure(figsize=(wide / DPI, high / DPI), dpi=DPI)
        self.figure.patch.set_facecolor(colour("paper"))
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, wide)
        self.axes.set_ylim(high, 0)
        self.axes.axis("off")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        role: str = "ink",
        points: float = 12,
        at: str = "left",
        mono: bool = False,
        bold: bool = False,
    ) -> None:
        """A text whose middle line is at ``y``; ``at`` is left, center or right of ``x``."""
        # The base line is set from the size, not from a font's measure, which differs from build to build.
        text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
        self.axes.text(
            x,
            y + 0.36 * points,
            text,
            color=colour(role),
            fontsize=points,
            ha=at,
            va="baseline",
            weight="bold" if bold else "normal",
            parse_math=False,
            clip_on=False,
            family="DejaVu Sans Mono" if mono else "DejaVu Sans",
        )

    def bar(
        self, x: float, y: float, wide: float, high: float, role: str, edge: str = "", alpha: float = 1
    ) -> None:
        """A filled rectangle from its top left corner."""
        self.bars([(x, y, wide, high)], role, edge, alpha)

    def bars(
        self, areas: list[tuple[float, float, float, float]], role: str, edge: str = "", alpha: float = 1
    ) -> None:
        """Many filled rectangles (x, y, wide, high) of one role."""
        corners = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h in areas]
        self.axes.add_collection(
            PolyCollection(
                corners,
                facecolors=colour(role),
                edgecolors=colour(edge) if edge else "none",
                linewidths=1 if edge else 0,
                alpha=alpha,
                clip_on=False,
            ),
            autolim=False,
        )

    def box(self, x: float, y: float, wide: float, high: float, role: str, edge: str = "grid") -> None:
        """A rectangle with round corners and an edge."""
        self.axes.add_patch(
            FancyBboxPatch(
                (x, y),
                wide,
                high,
                clip_on=False,
                boxstyle="round,pad=0,rounding_size=5",
                facecolor=colour(role),
                edgecolor=colour(edge),
                linewidth=1,
            )
        )

    def line(
        self, xs: list[float], ys: list[float], role: str = "grid", thick: float = 1, dashed: bool = False
    ) -> None:
        """A line through points."""
        self.axes.plot(
            xs,
            ys,
            color=colour(role),
            linewidth=thick,
            clip_on=False,
            linestyle=(0, (4, 3)) if dashed else "-",
            solid_capstyle="butt",
            solid_joinstyle="round",
        )

    def dots(
        self,
        xs: list[float],
        ys: list[float],
        role: str,
        big: float = 7,
        hollow: bool = False,
        mark: str = "o",
    ) -> None:
        """Marks at points, ``big`` pixels across. Marks of one kind are drawn together and over all lines."""
        held = self._dots.setdefault((role, big, hollow, mark), ([], []))
        held[0].extend(xs)
        held[1].extend(ys)

    def finish(self, alt: str, caption: str = "") -> Shown:
        """The drawing as an image with its description; the description is also its plain text."""
        return Shown(
            render(
                "plot.html",
                source=_data_uri(self._svg(alt)),
                alt=alt,
                caption=caption,
                wide=round(self.wide),
                high=round(self.high),
            ),
            alt + (f"\n{caption}" if caption else ""),
        )

    def _svg(self, alt: str) -> str:
        for (role, big, hollow, mark), (xs, ys) in self._dots.items():
            self.axes.plot(
                xs,
                ys,
                linestyle="none",
                marker=mark,
                markersize=big,
                markeredgewidth=1.6,
                clip_on=False,
                markerfacecolor=colour("paper" if hollow else role),
                markeredgecolor=colour(role),
            )
        self._dots = {}
        held = io.StringIO()
        settings = {"svg.fonttype": "none", "svg.hashsalt": "celery-triage", "path.simplify": False}
        with rc_context(settings):
            FigureCanvasSVG(self.figure).print_svg(
                held, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
            )
        return themed(held.getvalue(), self.wide, self.high)


def themed(svg: str, wide: float, high: float) -> str:
    """Matplotlib's SVG with the stand-ins as CSS variables, system fonts and without prologue and
    metadata."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    svg = re.sub(
        r"<svg[^>]*>",
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {wide:g} {high:g}" width="{wide:g}" height="{high:g}">',
        svg,
        count=1,
    )
    svg = svg.replace("font-family: 'DejaVu Sans Mono'; ", "font-family: var(--mono); ")
    svg = svg.replace("font-family: 'DejaVu Sans'; ", "").replace("text-anchor: start; ", "")
    for role, (stand_in, _, _) in ROLES.items():
        svg = svg.replace(stand_in, f"var(--{role})")
    variables = [";".join(f"--{role}:{values[n]}" for role, values in ROLES.items()) for n in (1, 2)]
    sheet = f":root{{{variables[0]}}}@media (prefers-color-scheme:dark){{:root{{{variables[1]}}}}}"
    sheet += f":root{{--mono:{MONO}}}text{{font-family:{SANS}}}"
    svg = svg.replace(
        "*{stroke-linejoin: round; stroke-linecap: butt}",
        sheet + "*{stroke-linejoin:round;stroke-linecap:butt}",
        1,
    )
    svg = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", re.sub(r"<!--.*?-->", "", svg, flags=re.S))
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def wrapped(text: str, columns: int) -> list[str]:
    """A text as lines of at most that many characters."""
    return textwrap.wrap(text, columns) or [""]
