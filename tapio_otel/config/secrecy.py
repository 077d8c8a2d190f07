"""What must not be shown: which names belong to secrets, and what secrets look like inside other text."""

from __future__ import annotations

import itertools
import re
from typing import Final

MASK: Final = "[REDACTED]"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_SECRET_WORDS: Final = frozenset(
    [
        "token",
        "tokens",
        "password",
        "passwords",
        "passwd",
        "pwd",
        "pass",
        "passphrase",
        "secret",
        "secrets",
        "apikey",
        "authorization",
        "auth",
        "credential",
        "credentials",
        "bearer",
        "cookie",
        "signature",
        "sig",
    ]
)
_SECRET_KEYS: Final = frozenset(
    ["api", "access", "private", "secret", "account", "signing", "encryption", "license", "ingest", "write", "shared", "team"]
)
_PUBLIC_ENDINGS: Final = frozenset({"file", "path", "dir", "directory", "name", "url", "type", "enabled"})

_PEM = re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL)
_BEARER = re.compile(
    r"(^\s*|[:=]\s*[\"']?)(bearer|basic|digest|apikey|token)(\s+)([\w+/=.~:-]{6,})(?=$|[\"',;\s])", re.IGNORECASE
)
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)(?P<rest>[^\s\"'<>]*)")
_USERINFO = re.compile(r"(?<![^\s\"'=,])([^\s:/@\"'=,]{1,200}):([^\s@/\"',]{1,200})@(?=[\w\[])")
_PARAMETER = re.compile(r"(?P<before>[?&;#])(?P<name>[^=&;#\s?]{1,100})=(?P<value>[^&;#\s\"']*)")
_VALID_PORT = re.compile(r"(?:\[[^\]]*\]|[^:]*)(?::\d*)?")


def is_secret_name(name: str) -> bool:
    """Tell whether an option, header, parameter or variable of this name holds a secret (`api_key`, `DB_PASSWORD`)."""
    words = [word.lower() for word in _WORD.findall(name[:200])]
    if not words or words[-1] in _PUBLIC_ENDINGS:
        return False
    keys = any(first in _SECRET_KEYS and second in {"key", "keys"} for first, second in itertools.pairwise(words))
    return keys or words[-1] == "headers" or words[-2:] == ["key", "pem"] or not _SECRET_WORDS.isdisjoint(words)


def mask_text(text: str) -> str:
    """Return the text without what looks secret in it: passwords in URLs, secret parameters, bearer tokens, PEM blocks."""
    text = _PEM.sub(MASK, text)
    text = _URL.sub(lambda match: match["scheme"] + _without_userinfo(match["rest"]), text)
    text = _USERINFO.sub(rf"\1:{MASK}@", text)
    text = _PARAMETER.sub(_mask_parameter, text)
    return _BEARER.sub(rf"\1\2\3{MASK}", text)


def _without_userinfo(rest: str) -> str:
    """Cut what stands before the host; where the password holds / ? # unescaped, rather too much than too little."""
    before_query = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority = before_query.split("/", 1)[0]
    if "@" in before_query or ("@" in rest and not _VALID_PORT.fullmatch(authority)):
        return f"{MASK}@{rest.rpartition('@')[2]}"
    tail = rest[len(before_query) :]
    return before_query + tail[:1] + MASK if "@" in tail and "://" in tail else rest


def _mask_parameter(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"]) and match["name"].lower() not in {"key", "code"}:
        return match[0]
    return f"{match['before']}{match['name']}={MASK}"
