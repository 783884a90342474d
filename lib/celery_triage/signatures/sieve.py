"""Which of many patterns may match a text, found in one pass over it (RE2's sets)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import re2

from celery_triage.signatures.catalogue import Signature

#: Of one sieve (bytes): states that it made are thrown away beyond that.
MEMORY = 16 << 20
#: Bounded repeats make large automata: the sieve takes them without their bounds and lets more through.
_BOUNDED = re.compile(r"(?<!\\)\{(?:0|(1))?,?\d*\}")
_LEADING = re.compile(r"^(\(\?:)?(?:\^|(?:\.|\[\\s\\S\])\{0,\d+\}\??)")


class Sieve:
    """Lets through, in their order, the signatures whose pattern can match a text. ``files`` is not looked
    at."""

    def __init__(self, signatures: Sequence[Signature]) -> None:
        self.signatures = signatures
        options = re2.Options()
        options.max_mem = MEMORY
        options.log_errors = False
        self.set = re2.Set.SearchSet(options)
        for signature in signatures:
            self.set.Add(_loose(signature.pattern.pattern))
        if signatures:
            self.set.Compile()

    def through(self, text: str) -> list[Signature]:
        if not self.signatures:
            return []
        return [self.signatures[place] for place in sorted(self.set.Match(text) or ())]


def _loose(pattern: str) -> str:
    """A pattern that matches wherever the given one does, with a smaller automaton."""
    pattern = _LEADING.sub(lambda found: found[1] or "", pattern)
    return _BOUNDED.sub(_unbounded, pattern)


def _unbounded(found: re.Match[str]) -> str:
    text = found[0]
    if "," not in text:
        return text
    return "*" if text.startswith("{0,") or text.startswith("{,") else "+"
