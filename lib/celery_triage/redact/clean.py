"""Text from outside made plain: valid Unicode, one kind of line end, no control characters, nothing
invisible.

In: bytes or text of anybody. Out: text that can be shown in a terminal, a page and a JSON file without doing
anything there. Nothing is masked here.
"""

from __future__ import annotations

import re

# ECMA-48: CSI (also its one-character form U+009B), OSC and the other strings up to their end, two-character
# escapes. Each repetition excludes ESC, so an unfinished sequence is scanned once: the time is linear.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{0,8}[0-~]"
)
# C0 but tab and line feed, DEL, C1, and what is invisible or turns the direction of the text around.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
CUT = " … (cut)"


def clean(raw: bytes | str) -> str:
    """Plain text: bytes that are no UTF-8 and lone surrogates as backslash escapes, escapes and controls
    gone.

    A lone carriage return becomes a line end only where a line feed follows it; elsewhere it vanishes like
    the other controls (a progress bar's line then shows all that it wrote).
    """
    if isinstance(raw, bytes):
        text = raw.decode("utf-8", "backslashreplace")
    else:
        text = raw.encode("utf-8", "backslashreplace").decode("utf-8")
    if text.isprintable():  # nearly every line of a log; it knows no line feed, but those have none
        return text
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def cut(text: str, limit: int) -> str:
    """At most `limit` characters of one line, the end said to be cut. Mask before: half a secret is
    unknown."""
    return text if len(text) <= limit else text[:max(0, limit - len(CUT))] + CUT


def tail(lines: list[str], limit: int) -> tuple[list[str], int]:
    """The last whole lines of at most `limit` characters in all, and how many characters were dropped."""
    kept = 0
    for index in range(len(lines) - 1, -1, -1):
        kept += len(lines[index]) + 1
        if kept > limit:
            return lines[index + 1:], sum(len(line) + 1 for line in lines[:index + 1])
    return lines, 0
