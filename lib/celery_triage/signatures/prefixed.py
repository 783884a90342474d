"""What a program says behind a prefix that no known format has: stamps, brackets, levels, a name. Pure."""

from __future__ import annotations

import re

from celery_triage.signatures.formats import Block
from celery_triage.signatures.speakers import DEATHS, OWN_BARE

#: So far into a line its words are looked for, and so many words may stand before them.
FAR, MOST_WORDS = 160, 12
_OWN = re.compile("|".join(map(re.escape, (*DEATHS, *OWN_BARE))))
_BRACKETS = re.compile(r"\[[^\]]{0,80}\]|\([^)]{0,80}\)|<[^>]{0,40}>")
_NAME = re.compile(r"[\w.@/-]{1,60}")
_LEVELS = "debug|info|notice|warn|warning|error|critical|fatal|crit|err"
#: A word of a prefix: with a digit, without a letter, with a mark behind it, or one that loggers write.
_WORD = re.compile(
    r"\S*\d\S*|[^\w\s]+|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)/[\w.:-]+\]|[\w./@-]+[:=|>]+"
    rf"|(?i:{_LEVELS}|utc|gmt|am|pm|stdout|stderr)"
    r"|(?:celery|kombu|billiard|amqp)\.[\w.]+"
    r"|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)"
)

#: Celery's own word as the value of a key, as structured loggers write it.
_EVENT = re.compile(r".{0,300}?\b(?:event|msg|message)=[\"']?(?=" + "|".join(map(re.escape, OWN_BARE)) + ")")
#: That a program tries to reach a server and does not.
_TRIES = re.compile(
    r"(?i)(?:[\w.]{1,80}: )?(?:[^:]{0,40}\bconnection (?:to \S+ )?(?:failed|error)\b"
    r"|[^:]{0,20}\b(?:failed|unable) to connect\b)"
)

#: The logger that a format writes before the message.
_LOGGER = re.compile(r"(?:\[[^\]]{1,80}\]:? )*(?:(?:[a-z_]\w*\.)*[a-z_]\w*(?:: | - ))?")
#: Where in a message its known words must begin, and how many characters they must be.
SOON, LONG_ENOUGH = 12, 16
#: So far behind the words that a program cannot connect stands why.
BEHIND_TRYING = 240
_LEVEL = re.compile(rf"(?i)(?:{_LEVELS})\b")
_LABEL = re.compile(r"[^\s:](?:[^:]|:(?! )){0,80}: +")
_ERROR = re.compile(
    r"(?i)\b\w*(?:error|failed|failure|fatal|exception|refused|limit|not allowed|timed out)\b"
)


def is_stamp(text: str) -> bool:
    """Whether what stands before some words only says when they were written, and how bad it is."""
    names = (word for word in text.split() if word[:1].isalpha() and not _LEVEL.match(word))
    return is_prefix(text) and all(any(map(str.isdigit, word)) for word in names)


def is_prefix(text: str) -> bool:
    """Whether what stands before some words only says who wrote them and when."""
    words = _BRACKETS.sub(" [] ", text).split()
    if words and words[0] != "[]" and _NAME.fullmatch(words[0]):
        del words[0]
    return len(words) <= MOST_WORDS and all(_WORD.fullmatch(word) for word in words)


def own_words(text: str, *, logged: bool = False) -> str:
    """The text from Celery's own words on, where nothing but a prefix stands before them; else empty. Behind
    an application's logger (``logged``) a name is the beginning of its talk, and only brackets are none."""
    found = _OWN.search(text, 0, FAR)
    if found is None:
        return ""
    before = text[: found.start()]
    harmless = not _BRACKETS.sub("", before).strip(" -:|") if logged else is_prefix(before)
    return text[found.start() :] if harmless else ""


def behind_label(text: str) -> int:
    """Where the message of an error begins that a line tells without its exception's name: at its front, or
    behind a label that calls it an error or is a prefix. -1 where the line tells of no error."""
    if label := _LABEL.match(text):
        named = " " not in label[0].strip()  # a program's or a method's name
        if named or _ERROR.search(label[0]) or is_stamp(label[0]):
            return label.end()
    return 0 if _ERROR.search(text[:FAR]) and text[:1].isalpha() else -1


def complaint(block: Block) -> tuple[int, int] | None:
    """Between which places what a record of an application's or a line complains of must begin. None where it
    does not complain: its level is no error's and it does not say that it cannot connect, or its first words
    call what follows somebody else's (``ticket body: …``)."""
    text = block.message
    if block.source not in ("app", ""):
        return None
    if found := _TRIES.match(text):
        return found.end(), found.end() + BEHIND_TRYING
    if block.source != "app" or block.level not in ("ERROR", "CRITICAL", "FATAL"):
        return None
    logger = _LOGGER.match(text)
    begin = logger.end() if logger is not None else 0
    first = True
    while label := _LABEL.match(text, begin):
        if not (_ERROR.search(label[0]) or is_stamp(label[0])):
            return None if first else (0, begin + SOON)
        first, begin = False, label.end()
    return 0, begin + SOON


def without_key(text: str) -> str:
    """The text without the key before Celery's own words."""
    found = _EVENT.match(text)
    return text[found.end() :] if found else text

