"""Which names (of variables, options, keys, query parameters) hold secrets, and which values are none.

A name is judged by its words, however they are joined (`DB_PASSWORD`, `dbPassword`, `--db-password`). Names
of limits and places of secrets (`TOKEN_TTL`, `POSTGRES_PASSWORD_FILE`) are no secrets and matter to a
diagnosis.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_INSIDE = ("password", "passwd", "passphrase", "passwort", "secret", "credential", "apikey", "privatekey",
           "accesskey", "requirepass", "masterauth", "webhook")
_WHOLE = {"pwd", "pass", "pw", "token", "authorization", "cookie", "passcode", "pgpass", "jwt", "salt",
          "pin"}
#: A key is a secret when one of these words stands before it; `routing_key` and `GPG_KEY` are none.
_KEYS = {
    "access", "account", "api", "app", "auth", "aws", "cookie", "crypt", "encrypt", "encryption",
    "fernet", "hmac", "jwt", "license", "licence", "master", "private", "secret", "sendgrid", "service",
    "session", "shared", "sign", "signing", "ssh", "storage", "stripe", "tls", "ssl",
}
#: Names that end so say something about a secret, not the secret.
_ABOUT = {
    "age", "alg", "algorithm", "backend", "class", "count", "days", "dir", "directory", "disabled",
    "enable", "enabled", "encryption", "endpoint", "expiration", "expire", "expires", "expiry", "field",
    "file", "files", "format", "hashers", "header", "host", "hours", "len", "length", "lifetime", "max",
    "method", "min", "minutes", "mode", "name", "path", "paths", "policy", "port", "prefix", "provider",
    "required", "seconds", "size", "timeout", "ttl", "type", "validators", "version",
}
#: Their values are URLs: masked as such, so that host and database stay.
_URLS = {"url", "uri", "dsn", "urls"}
_NOT = {"pwd", "oldpwd"}
#: What stands where a secret would, and is none.
_PLAIN = {"true", "false", "yes", "no", "on", "off", "none", "null", "nil", "undefined", "unset", "empty",
          "0", "1"}
#: What a remedy, or a manual, writes where the reader's own is to stand.
_PLACEHOLDERS = {"PASSWORD", "…", "..."}
_TOKEN = re.compile(r"\*\*\*[0-9a-f]{6}")
_MASKED = re.compile(r"[*•]+|\[(?i:filtered|redacted|masked|hidden)\]|<(?i:filtered|redacted|masked|hidden)>")
_REFERENCE = re.compile(
    r"\$?\$\{[A-Za-z_]\w*(?::?\?[^{}]*)?\}|\$?\$[A-Z_][A-Z0-9_]{2,}|%\(\w+\)s|%s|\{\w*\}"
)


@lru_cache(maxsize=8192)
def is_secret_name(name: str) -> bool:
    """True when what stands under that name is a secret. `name` may carry leading dashes."""
    if len(name) > 256 or name.strip("-_.").lower() in _NOT:
        return False
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    last = words[-1] if not words[-1].isdigit() or len(words) == 1 else words[-2]
    joined = "".join(words)
    if last in _URLS:
        return "webhook" in words
    if last in _ABOUT:
        return False
    if any(part in joined for part in _INSIDE) or _WHOLE.intersection(words):
        return True
    if last == "auth" or joined.endswith("token"):
        return True
    return any(word == "key" and words[at - 1] in _KEYS for at, word in enumerate(words) if at)


def is_no_secret(value: str) -> bool:
    """True for a value that stands in a secret's place and hides nothing: empty, masked already, a reference
    to a variable, a plain yes or no, a placeholder."""
    value = value.strip()
    return (not value or value.lower() in _PLAIN or value in _PLACEHOLDERS
            or _TOKEN.fullmatch(value) is not None or _MASKED.fullmatch(value) is not None
            or _REFERENCE.fullmatch(value) is not None)


def starts_masked(value: str) -> bool:
    """True when a token stands at the beginning: what follows belongs to the text around it."""
    return _TOKEN.match(value) is not None
