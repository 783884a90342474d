"""Known secret values, and every form in which they can turn up in a text or a file."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote

#: Shorter values are masked only by position: they would be found by chance.
SHORTEST = 8
#: Longer ones are known by their first characters.
LONGEST = 4096


def forms(secret: str) -> Iterator[str]:
    """All texts that show `secret`: itself, URL-encoded (both cases, plus signs), JSON-escaped once and
    twice, as Python and HTML write it, and the inside of every base64 text that contains it."""
    secret = secret[:LONGEST]
    yield secret
    for spelt in (unquote(secret), secret):
        try:
            spelt.encode("utf-8")
        except UnicodeEncodeError:
            continue
        for written in (quote(spelt, safe=""), quote(spelt), quote_plus(spelt)):
            yield written
            yield _lower_escapes(written)
        yield spelt
        for ascii_only in (True, False):
            once = json.dumps(spelt, ensure_ascii=ascii_only)[1:-1]
            yield once
            yield json.dumps(once, ensure_ascii=ascii_only)[1:-1]
        yield repr(spelt)[1:-1]
        yield html.escape(spelt)
        yield html.escape(spelt, quote=False)
        yield from _base64(spelt.encode("utf-8"))


def _lower_escapes(text: str) -> str:
    head, *rest = text.split("%")
    return head + "".join("%" + part[:2].lower() + part[2:] for part in rest)


def _base64(secret: bytes) -> Iterator[str]:
    """What base64 makes of `secret` at each of the three places that it can have inside a longer text,
    without the characters that depend on its neighbours."""
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + secret).decode("ascii")
        first = (0, 2, 3)[offset]
        last = (offset + len(secret)) * 8 // 6
        inner = whole[first:last]
        if len(inner) >= SHORTEST:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")
