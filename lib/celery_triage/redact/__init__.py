"""What a secret is, and how it is masked.

In: bytes and text from outside, names and values of variables, command lines. Out: plain text in which
every secret is a token such as ``***1f3a2b``: equal secrets have equal tokens within one run, and nothing
leads back (the key is random and forgotten). A token is valid inside the userinfo of a URL.

Two nets: secrets by position (`positions`), and every value once learnt from a configuration wherever it
turns up again, plain or encoded (`known`). Values of logs are never learnt: whoever writes a log could
choose what vanishes.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from celery_triage.redact import known, positions
from celery_triage.redact.clean import CUT, clean, cut, tail
from celery_triage.redact.names import is_no_secret, is_secret_name

#: Words of every such stack, also when somebody took one for a password: they must stay readable.
VOCABULARY = frozenset((
    "password", "postgres", "postgresql", "psycopg2", "database", "username", "localhost", "rabbitmq",
    "rediss", "celery", "worker", "workers", "default", "backend", "postmaster", "operational",
    "operationalerror",
    "connection", "refused", "template0", "template1", "shutdown", "exception", "traceback", "sqlalchemy",
    "container", "services", "networks", "healthcheck", "celery_beat", "production", "development", "kombu",
))


class MaskingFailed(Exception):
    """Masking came upon something that it cannot read: nothing of that section may be shown."""

    status, why = "withheld", "masking failed, so nothing of it is shown"

    def __init__(self) -> None:
        super().__init__(self.why)


def _withholding(mask: Callable) -> Callable:
    """A masking method whose every error is MaskingFailed, without the text of the first one."""

    @functools.wraps(mask)
    def careful(*args: Any, **kwargs: Any) -> Any:
        try:
            return mask(*args, **kwargs)
        except Exception:
            raise MaskingFailed from None

    return careful


class Redactor:
    """Learns the secrets of one run and masks them. `key` is for tests; by default it is random.

    Masking never needs a second call: `text(text(x)) == text(x)`.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or os.urandom(32)
        self._secrets: set[str] = set()
        self._public: set[str] = set(VOCABULARY)
        self._table: list[tuple[str, str]] | None = None

    def token(self, secret: str) -> str:
        """The token of a secret; the same for its URL-encoded form."""
        plain = unquote(secret.strip()).encode("utf-8", "surrogatepass")
        return "***" + hmac.new(self._key, plain, hashlib.sha256).hexdigest()[:6]

    # What is known

    def publish(self, words: Iterable[str | None]) -> None:
        """Public words of the stack (users, hosts, databases, names of services, containers, queues): a
        secret that is one of them, or a part of one, is masked by position only."""
        self._public.update(word.lower() for word in words if word)
        self._table = None

    def learn(self, *secrets: str) -> None:
        """Secret values, to be masked wherever they turn up."""
        for secret in secrets:
            secret = secret.strip()
            if not is_no_secret(secret) and len(secret) <= 2**16:
                self._secrets.add(secret)
                lines = (line.strip() for line in secret.splitlines())
                self._secrets.update(line for line in lines if line and "-----" not in line)
        self._table = None

    def learn_env(self, env: Mapping[str, str | None]) -> None:
        """The secrets of an environment."""
        for name, value in env.items():
            self._env_value(name, clean(value or ""), self._learning)

    def learn_argv(self, argv: Sequence[str]) -> None:
        """The secrets of a command line."""
        self._argv([clean(word) for word in argv], self._learning)

    def learn_url(self, url: str) -> None:
        """The password of a URL, and its secret query parameters."""
        positions.everything(clean(url), self._learning, whole=True)

    def _learning(self, secret: str) -> str:
        self.learn(secret)
        return self.token(secret)

    def known(self) -> list[str]:
        """The secrets that are searched for everywhere: eight characters or more and no public word."""
        long = [secret for secret in self._secrets if len(secret) >= known.SHORTEST]
        return sorted(secret for secret in long if not any(secret.lower() in word for word in self._public))

    def export(self) -> dict[str, list[str]]:
        """All that was learnt, as JSON data for another process of the same run. It holds secrets."""
        return {"key": [self._key.hex()], "secrets": sorted(self._secrets), "public": sorted(self._public)}

    def adopt(self, exported: Mapping[str, list[str]]) -> None:
        """Take over what `export` of another process gave, key included."""
        self._key = bytes.fromhex(exported["key"][0])
        self._secrets.update(exported["secrets"])
        self._public.update(exported["public"])
        self._table = None

    def _forms(self) -> list[tuple[str, str]]:
        """(form, token), longest first, so that a secret inside a longer one does not break it."""
        if self._table is None:
            table: dict[str, str] = {}
            for secret in self.known():
                for form in known.forms(secret):
                    if len(form) >= known.SHORTEST:
                        table.setdefault(form, self.token(secret))
            self._table = sorted(table.items(), key=lambda pair: (-len(pair[0]), pair[0]))
        return self._table

    @_withholding
    def replace_known(self, text: str) -> str:
        """Known secrets replaced in clean text, nothing else looked at."""
        for form, token in self._forms():
            if form in text:
                text = text.replace(form, token)
        return text

    # Masking

    @_withholding
    def text(self, raw: bytes | str, limit: int | None = None) -> str:
        """Any text from outside: cleaned, masked, then cut to `limit` characters."""
        text = self.replace_known(positions.everything(clean(raw), self.token))
        return text if limit is None else cut(text, limit)

    @_withholding
    def lines(self, lines: Iterable[bytes | str], limit: int | None = None) -> list[str]:
        """Lines of one log or file, one for one; private keys over several lines are seen as such.

        Known secrets are looked for in all lines at once: only those that occur are replaced line by line.
        """
        cleaned = positions.pem([clean(line) for line in lines], self.token)
        masked = [positions.everything(line, self.token) for line in cleaned]
        joined = "\n".join(masked)
        present = [(form, token) for form, token in self._forms() if form in joined]
        for form, token in present:
            masked = [line.replace(form, token) for line in masked]
        return masked if limit is None else [cut(line, limit) for line in masked]

    @_withholding
    def value(self, name: str, value: str | bytes) -> str:
        """The value of one variable, key or option of that name."""
        return self.replace_known(self._env_value(name, clean(value), self.token))

    @_withholding
    def env(self, env: Mapping[str, str | None]) -> dict[str, str]:
        """An environment, names kept."""
        return {clean(name): self.value(name, value or "") for name, value in env.items()}

    @_withholding
    def argv(self, argv: Sequence[str]) -> list[str]:
        """A command line, word by word; a secret may stand in the word behind its option."""
        return [self.replace_known(word) for word in self._argv([clean(word) for word in argv], self.token)]

    @_withholding
    def data(self, value: Any) -> Any:
        """Plain JSON data, masked throughout: strings as text, under a secret's name as its value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._data_under(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value

    def _data_under(self, name: str, value: Any) -> Any:
        if isinstance(value, str):
            return self.value(name, value)
        if isinstance(value, (list, tuple)) and is_secret_name(name):
            return [self._data_under(name, item) for item in value]
        return self.data(value)

    @_withholding
    def data_known(self, value: Any) -> Any:
        """Masked JSON data once more, for the secrets learnt since: known values only, no positions."""
        if isinstance(value, str):
            return self.replace_known(value)
        if isinstance(value, Mapping):
            return {self.replace_known(key): self.data_known(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data_known(item) for item in value]
        return value

    @staticmethod
    def _env_value(name: str, value: str, mask: positions.Mask) -> str:
        if is_secret_name(name):
            user, colon, password = value.partition(":")
            if name.lower().endswith("auth") and colon and "://" not in value:
                return f"{user}:{positions.kept(password, mask)}"
            return positions.kept(value, mask)
        return positions.everything(value, mask, whole=True)

    @staticmethod
    def _argv(argv: list[str], mask: positions.Mask) -> list[str]:
        result, before = [], ""
        for word in argv:
            option, equals, value = word.partition("=")
            if before and is_secret_name(before):
                word = positions.kept(word, mask)
            elif equals and " " not in option and is_secret_name(option):
                word = option + equals + positions.kept(value, mask)
            elif before == "-a" and argv and argv[0].endswith("redis-cli"):
                word = positions.kept(word, mask)
            else:
                prose = " " in word.strip()
                word = positions.everything(word, mask, whole=not prose and not word.startswith("-"))
            result.append(word)
            option_like = word.startswith("-") and not equals
            before = word if option_like or word in ("requirepass", "masterauth") else ""
        return result

    # Search before publishing

    def find_leaks(self, where: str | Path) -> list[str]:
        """Known secrets in a text (`str`), in one file or in all files below a folder (`Path`): one
        sentence for each file and secret, without the secret. Empty: none. Links are not followed."""
        if isinstance(where, str):
            held = {token for form, token in self._forms() if form in where}
            return sorted(f"the text holds the secret {token}" for token in held)
        found = set()
        for path in _files(where):
            content = path.read_bytes()
            for form, token in self._forms():
                if form.encode("utf-8", "surrogatepass") in content:
                    name = path.relative_to(where) if path != where else path.name
                    found.add(f"{name} holds the secret {token}")
        return sorted(found)


def _files(where: Path) -> Iterator[Path]:
    if where.is_file():
        yield where
    for folder, _, names in os.walk(where):
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


__all__ = [
    "CUT", "VOCABULARY", "MaskingFailed", "Redactor",
    "clean", "cut", "is_no_secret", "is_secret_name", "tail",
]
