"""Secrets by where they stand: in URLs, behind names, options and headers, in PEM blocks, by a well-known
shape.

Each function takes a text and `mask` (secret in, token out) and gives the text with the secrets replaced.
All patterns run in linear time: no repetition inside another over the same characters, possessive where it
matters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from celery_triage.redact.names import is_no_secret, is_secret_name, starts_masked

Mask = Callable[[str], str]

#: A line without any of these (in lower case) holds no secret by position: the others are looked at closely.
HINTS = ("pass", "secret", "token", "key", "cred", "auth", "pwd", "://", "bearer", "cookie", "-----", "eyj",
         "akia", "asia", "ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat", "glpat", "xox", "aiza",
         "k_live_", "k_test_", "sg.", "slack", "mysql", "curl", "redis-cli", "webhook", "jwt", "pw", "salt",
         "pin")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*\Z")
_URL_END = re.compile(r"[\s\"'<>`|]")
_QUERY_START = re.compile(r"\?[A-Za-z_][\w.\-]{0,40}=")
_SEPARATOR = re.compile(r"[,;()]")
_LIST_GAP = re.compile(r"[;,\s\"']+\Z")
_PORT = re.compile(r"[^:]*:?[0-9]*\Z")
_QUERY = re.compile(r"([?&;]([\w.\-]{1,64})=)([^&\s\"'<>#]+)")
_NAME = re.compile(r"(?<![\w.\-])([\w.\-]++)\\{0,4}[\"']?[ \t]{0,4}(?:=>|:=|=|:)[ \t]{0,4}")
_OPTION = re.compile(
    r"(?<![^\s\"'\[(,=])(--?[A-Za-z][\w\-]*+)(?:[ \t]{1,4}|[\"'],[ \t]{0,3}(?=[\"']))(?![ \t\-])"
)
_VALUE = re.compile(
    r"\\{1,4}(?P<quote>[\"'])(?P<escaped>[^\"'\\]*+)"
    r"|[bBrRuUfF]{0,2}(?:\"(?P<double>(?:[^\"\\]|\\.)*+)|'(?P<single>(?:[^'\\]|\\.)*+))"
    r"|(?P<list>\[[^\[\]\n]{0,4000}\])"
    r"|(?P<bare>(?:[^\s\"'\\]|\\(?![nrt\"'\\]))++)"
)
_HEADER = re.compile(
    r"(?i)(\b(?:proxy-)?authorization\\?[\"']?[ \t]{0,4}[:=][ \t]{0,4}(?:b?\\?[\"'])?"
    r"(?:(?:bearer|basic|token|digest|apikey|negotiate)[ \t]{1,4})?"
    r"|(?<![\w./])(?:set-)?cookie\\?[\"']?[ \t]{0,4}[:=][ \t]{0,4}(?:b?\\?[\"'])?)([^\n\"'\\]+)"
)
_BEARER = re.compile(r"(?i)\b(bearer[ \t]{1,4})([A-Za-z0-9._~+/=\-]{8,})")
_SHAPES = re.compile(
    r"\beyJ[A-Za-z0-9_\-]{8,}+\.[A-Za-z0-9_\-]{4,}+(?:\.[A-Za-z0-9_\-]*+)?"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\b(?:gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+|glpat-[\w\-]{16,}+)"
    r"|\bxox[abeoprs]-[A-Za-z0-9\-]{10,}+|\bAIza[\w\-]{30,}+|\b[sr]k_(?:live|test)_\w{10,}+"
    r"|\bSG\.[\w\-]{16,}+\.[\w\-]{16,}+"
    r"|(?<=hooks\.slack\.com/services/)[\w/]{8,}+"
)
_TOOLS = (
    ("redis-cli", re.compile(r"(\s-a[ \t]{1,4}[\"']?|\s-a(?=\S))([^\s\"']+)")),
    ("mysql", re.compile(r"(\s-p[\"']?)([^\s\"'\-=][^\s\"']*)")),
    ("curl", re.compile(r"(\s(?:-u|--user)[ \t=]{0,4}[\"']?[^\s:\"']{0,200}:)([^\s\"']+)")),
)
#: A host with an @ in it begins with the end of a password that an unescaped @ cut (libpq, psycopg 3,
#: redis-py); a port that is no number is the beginning of one that an unescaped / or # cut (urllib).
_CUT = re.compile(
    r"((?:host(?: name)?:? [\"']|connecting to ))"
    r"([^\"'\s@]{1,200}+(?:@[^\"'\s@]{1,200}+(?=@)){0,9})(?=@[\w.\[-])"
)
_NO_PORT = re.compile(r"(cast to integer value as \\{0,4}[\"'])(?![\d.]+[\\\"'])([^\"'\s\\$]{1,200}+)")
_DEFAULT = re.compile(r"(\$\{[A-Za-z_]\w*:?[-+])([^{}]*)(\})")
_PEM = "-----BEGIN "
_PEM_OPEN = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=]{20,})?\s*\Z")
#: A line of a key's body: base64, an RFC 1421 header, or base64 at the end behind something else.
_PEM_BODY = re.compile(r"\s*(?:[A-Za-z0-9+/=\\]*|(?:Proc-Type|DEK-Info):.*)\s*\Z")
_PEM_END = re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/=]{40,}\s*\Z")


def everything(text: str, mask: Mask, *, whole: bool = False) -> str:
    """All positions of one text. `whole`: the text is one value (of a variable, of an option), not prose."""
    low = text.lower()
    if "@" in text and ("host" in low or "connecting to" in low):
        text = _CUT.sub(lambda found: found[1] + kept(found[2], mask), text)
    if "cast to integer value" in low:
        text = _NO_PORT.sub(lambda found: found[1] + kept(found[2], mask), text)
    if not any(hint in low for hint in HINTS):
        return text
    if "-----begin" in low:
        text = "\n".join(pem(text.split("\n"), mask))
    if "://" in text:
        text = urls(text, mask, whole=whole)
    if "authorization" in low or "cookie" in low:
        text = _HEADER.sub(lambda found: found[1] + kept(found[2], mask), text)
    if "bearer" in low:
        text = _BEARER.sub(lambda found: found[1] + mask(found[2]), text)
    text = _SHAPES.sub(lambda found: mask(found[0]), text)
    text = _QUERY.sub(
        lambda found: found[1] + kept(found[3], mask) if is_secret_name(found[2]) else found[0], text)
    text = _named(text, _NAME, mask)
    text = _named(text, _OPTION, mask)
    for tool, pattern in _TOOLS:
        if tool in low:
            text = pattern.sub(lambda found: found[1] + kept(found[2], mask), text)
    return text


def kept(value: str, mask: Mask) -> str:
    """The token of a value; the value itself where it hides nothing. Of a reference the default is masked."""
    if is_no_secret(value) or starts_masked(value):
        return value
    if _DEFAULT.search(value):
        return _DEFAULT.sub(lambda found: found[1] + kept(found[2], mask) + found[3], value)
    return mask(value)


def _named(text: str, names: re.Pattern[str], mask: Mask) -> str:
    """The values behind the secret names that a pattern finds. Only such a name takes its value with it: in
    ``conn: password=x`` the value of ``conn`` has a name of its own."""
    pieces, done, at = [], 0, 0
    while name := names.search(text, at):
        at = name.end()
        if text[name.start() - 1 : name.start()] == "/" and name[0].endswith(": "):
            continue  # the path of a file, and what is said of it
        if not is_secret_name(name[1]) or name[1].lower().endswith(("authorization", "cookie")):
            continue
        value = _VALUE.match(text, at)
        if not value:
            continue
        group = value.lastgroup
        start, end = value.span(group)
        if group == "bare":
            if not value[group].strip("{[(<"):
                continue
            end = start + len(value[group].rstrip(",;)]>" if "{" in value[group] else ",;)}]>"))
        pieces += [text[done:start], kept(text[start:end], mask)]
        done = at = end
    return "".join(pieces) + text[done:] if pieces else text


def urls(text: str, mask: Mask, *, whole: bool = False) -> str:
    """Passwords in the userinfo of every URL, also those that hold an unescaped ``@``, ``/``, ``#`` or ``?``.

    In prose a URL ends at white space or a quote; a `whole` value is one URL, or several behind ``;`` or
    ``,``. For ``http`` and ``https`` a lone user (a token, a Sentry key) is masked, too.
    """
    done, pieces, at = 0, [], text.find("://")
    while at >= 0:
        scheme = _SCHEME.search(text, max(done, at - 60), at)
        start = at + 3
        following = text.find("://", start)
        end = len(text)
        if following >= 0:
            next_scheme = _SCHEME.search(text, max(start, following - 60), following)
            end = next_scheme.start() if next_scheme else following
        if not whole:
            stop = _URL_END.search(text, start, end)
            end = stop.start() if stop else end
        elif following >= 0 and (gap := _LIST_GAP.search(text, max(start, end - 20), end)):
            end = gap.start()
        if scheme:
            http = scheme[0].lower() in ("http", "https", "ws", "wss")
            length = _userinfo_length(text[start:end], http, whole)
            if length:
                pieces.append(text[done:start])
                pieces.append(_userinfo(text[start:start + length], http, mask))
                done = start + length
        at = text.find("://", max(end, at + 3))
    return "".join(pieces) + text[done:] if pieces else text


def _userinfo_length(rest: str, http: bool, whole: bool) -> int:
    """How many characters of what follows ``://`` are userinfo (without the ``@`` behind it); 0 for none.

    By the standard it ends at the last ``@`` before the first ``/ ? #``. A password that was not escaped
    breaks that: then a later ``@`` is its end, unless what stands first is a plain host and port.
    """
    ends = [place for place in (rest.find(mark) for mark in "/?#") if place >= 0]
    authority = min(ends, default=len(rest))
    inside = rest.rfind("@", 0, authority)
    head = rest[:authority]
    if http:
        return inside if inside >= 0 else max(0, rest.rfind("@")) if not _PORT.match(head) else 0
    query = _QUERY_START.search(rest)
    far = rest.rfind("@", 0, query.start() if query else len(rest))
    if far == inside:
        return max(0, inside)
    if inside >= 0:  # user:p@ss/word@host; in prose an "@" behind a comma belongs to something else
        return far if whole or not _SEPARATOR.search(rest, inside, far) else inside
    return far if ":" in head and (whole or head.startswith(":") or not _PORT.match(head)) else 0


def _userinfo(text: str, http: bool, mask: Mask) -> str:
    user, colon, password = text.partition(":")
    if colon:
        return f"{user}:{kept(password, mask)}"
    return kept(user, mask) if http else user


def pem(lines: list[str], mask: Mask) -> list[str]:
    """Private keys over several lines: each line of the body becomes the same token, the frame stays.

    A block ends at its END line, or where a line cannot be part of one: a log that only mentions the words is
    not swallowed. Written with ``\\n`` on one line, the body is masked up to END or the end of the line.
    """
    if not any(_PEM in line for line in lines):
        return lines
    result, inside = [], ""
    for line in lines:
        if inside:
            if "-----END " in line:
                inside, line = "", line
            elif _PEM_BODY.match(line):
                result.append(inside if line.strip() else line)
                continue
            elif end := _PEM_END.search(line):
                result.append(line[:end.start()] + inside)
                continue
            else:
                inside = ""
        result.append(line if _PEM not in line else _pem_line(line, mask))
        opened = _PEM_OPEN.search(line)
        if opened:
            inside = mask(opened[0] + "pem")
    return result


def _pem_line(line: str, mask: Mask) -> str:
    pieces, done = [], 0
    for start, end in _pem_bodies(line):
        body = line[start:end]
        pieces += [line[done:start], mask(body) if body.strip("\\n \t\"'") else body]
        done = end
    return "".join(pieces) + line[done:]


def _pem_bodies(line: str) -> Iterator[tuple[int, int]]:
    at = line.find(_PEM)
    while at >= 0:
        frame = line.find("-----", at + len(_PEM))
        if frame < 0:
            return
        start = frame + 5
        end = line.find("-----END ", start)
        end = len(line) if end < 0 else end
        if "PRIVATE KEY" in line[at:start]:
            yield start, end
        at = line.find(_PEM, end)
