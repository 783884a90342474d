"""The door between what was read and a page: an allow-list of HTML, no script, nothing loaded, only links
inside.

Everything shown is escaped where it is made; this is the second lock, and it holds also for an output that a
notebook's author wrote by hand.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

TAGS = set(
    "a article b br caption code del details div em figcaption figure h1 h2 h3 h4 h5 h6 header hr i img "
    "ins li mark ol p pre section small span strong sub summary sup table tbody td th thead tr ul".split()
)
ATTRIBUTES = {
    "*": {"class", "id", "title", "role", "tabindex", "aria-label", "aria-hidden"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "td": {"colspan", "data-label"},
    "details": {"open"},
    "th": {"scope", "colspan"},
}
#: A link leads to a page of this folder, to a file of the report, or to a place on a page: never to a host.
INSIDE = re.compile(r"(?:(?:\.\./|\./)?[\w.-]+(?:/[\w.-]+)*)?(?:#[\w.-]*)?")
IMAGE = re.compile(r"data:image/(?:svg\+xml|png);base64,[A-Za-z0-9+/=]+")


def clean(html: str, there: Collection[str] | None = None) -> Markup:
    """HTML with only what the allow-list names. Scripts and styles go with what they hold.

    ``there`` are the pages of this report: a link to a runbook that is none of them becomes plain text.
    """

    def attribute(tag: str, name: str, value: str) -> str | None:
        if name == "href":
            link = page_link(value) if INSIDE.fullmatch(value) else None
            missing = (
                link
                and there is not None
                and value.partition("#")[0].endswith(".ipynb")
                and link.partition("#")[0] not in there
            )
            return None if missing else link
        if name == "src":
            return value if IMAGE.fullmatch(value) else None
        return value

    return Markup(
        nh3.clean(
            html,
            tags=TAGS,
            attributes=ATTRIBUTES,
            attribute_filter=attribute,
            link_rel=None,
            url_schemes={"data"},
            clean_content_tags={"script", "style"},
        )
    )


def page_link(link: str) -> str:
    """A link between notebooks as a link between their pages."""
    name, mark, place = link.partition("#")
    return (name.removesuffix(".ipynb") + ".html" if name.endswith(".ipynb") else name) + mark + place


def markdown(text: str) -> Markup:
    """Markdown (CommonMark with tables, no inline HTML) as safe HTML."""
    return clean(_parser().render(text))


def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")
