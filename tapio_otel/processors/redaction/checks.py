"""What an expression cannot say about a secret: check digits, words of prose, where a value ends.

Every check is given the text and where a pattern matched in it, and returns the place of the secret, or None where there is
none. What was redacted before is none, so that redacting twice changes nothing.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import Final, NamedTuple, TypeAlias

Place: TypeAlias = "tuple[int, int] | None"


class Sighting(NamedTuple):
    """Hold where a pattern matched: from `begin`, with the secret from `start` to `end`, and the other groups it names."""

    begin: int
    start: int
    end: int
    marks: frozenset[str]


_REDACTED = re.compile(rb"\*+|\*{4}[0-9a-f]{16}")
_NO_VALUE: Final = frozenset(
    b"null none nil true false yes no on off undefined empty unset unknown n/a redacted filtered hidden masked xxx xxxx xxxxx "
    b"xxxxxx xxxxxxx xxxxxxxx".split()
)
"""What stands for a value, or for one that somebody else has masked."""
_STATEMENTS: Final = frozenset(
    b"is was are has had must may can cannot could should will not too expired invalid incorrect wrong missing mismatch "
    b"required rejected denied refused failed failure failing error changed updated rotated revoked accepted found ok okay "
    b"expires expiration verification validation authentication authorization permission unexpected unable does did to for "
    b"of from in at with without by and or the a an if this that your".split()
)
"""Words that say something about a secret where the secret itself would stand."""
_HELP: Final = frozenset(b"to or and is are was option options flag flags string argument requires must from for in if".split())
_CUT = re.compile(rb"""[,;&](?=[\w.\[\]%-]+=|\s|\Z)|,(?=[\w.-]+:)|</""")
_MASK_FIRST = re.compile(rb"\*{4,}(?:[0-9a-f]{16})?(?![\w*])")
_PAM_PHASE = re.compile(rb"(?:auth|account|session|chauthtok|setcred)\)")
"""What follows a service such as `passwd` in messages of PAM: `pam_unix(passwd:chauthtok)`."""
_NEXT_WORD = re.compile(rb"[ \t]+[A-Za-z]")
_CLOSING: Final = b")]}>,;&"
_LOOK_BACK: Final = 128
_NAME_BYTES: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-\"'\\")


def whole(_text: bytes, found: Sighting) -> Place:
    """Accept the match as it is."""
    return found.start, found.end


def is_redacted(secret: bytes) -> bool:
    """Tell whether this is what redacting leaves."""
    return _REDACTED.fullmatch(secret) is not None


def says_nothing(secret: bytes) -> bool:
    """Tell whether this stands for a value that is not there or not shown."""
    if is_redacted(secret) or (len(set(secret)) == 1 and not secret.isalnum()):
        return True
    bare = secret.strip(b"[]<>(){}*.,;:").lower()
    return (len(secret) <= 3 and not bare) or bare in _NO_VALUE


def value(text: bytes, found: Sighting) -> Place:
    """Accept what is not a mask or a word for nothing."""
    return None if says_nothing(text[found.start : found.end]) else (found.start, found.end)


_SCHEMES: Final = frozenset(
    b"basic bearer digest negotiate ntlm token apikey api-key key oauth hawk signature sharedkey sharedkeylite "
    b"sharedaccesssignature aws4-hmac-sha256 aws4-ecdsa-p256-sha256".split()
)


def credentials(text: bytes, found: Sighting) -> Place:
    """Accept the credentials of an Authorization header; without a known scheme they must look like some."""
    secret = text[found.start : found.end].rstrip(b")]}>")
    word = secret.lower().rstrip(b".!?:")
    if says_nothing(secret) or word in _STATEMENTS or word in _SCHEMES:
        return None
    if "loose" in found.marks and word.isalpha():
        return None
    if "alone" in found.marks and not _is_user_and_password(secret):
        return None
    return found.start, found.start + len(secret)


def _is_user_and_password(secret: bytes) -> bool:
    try:
        return b":" in b64decode(secret + b"=" * (-len(secret) % 4))
    except (binascii.Error, ValueError):
        return False


def bearer(text: bytes, found: Sighting) -> Place:
    """Accept what looks like a token and not like the word after `bearer` in a sentence or a challenge."""
    start, end = found.start, found.end
    secret = text[start:end]
    if b"=" in secret.rstrip(b"="):
        return None
    mixed = not secret.islower() and not secret.isupper() and len(secret) >= 16
    return (start, end) if mixed or any(48 <= byte <= 57 for byte in secret) else None


_END_OF_HOST = re.compile(rb"[/?#]|%2f|%3f|%23", re.IGNORECASE)


def in_url(text: bytes, found: Sighting) -> Place:
    """Accept a password before an at sign; with a slash in it, only where what comes before the slash is no port."""
    start, end = found.start, found.end
    secret = text[start:end]
    head = _END_OF_HOST.split(secret, maxsplit=1)[0]
    if says_nothing(secret) or (len(head) < len(secret) and (not head or head.isdigit())):
        return None
    return start, end


def argument(text: bytes, found: Sighting) -> Place:
    """Accept the argument of an option, but for words of a help text."""
    start, end = found.start, found.end
    secret = text[start:end].rstrip(b"\\")
    if says_nothing(secret) or secret.lower() in _HELP:
        return None
    return start, start + len(secret)


def assigned(text: bytes, found: Sighting) -> Place:
    """Accept the value of a key, cut off where the next key begins; not what a sentence says about it."""
    start, end = found.start, found.end
    before, secret = text[start - 1 : start], text[start:end]
    secret = secret.rstrip(b"\\") if before in {b'"', b"'"} else _unquoted(secret)
    if "weak" in found.marks and (secret.isdigit() or secret.lower() in _STATEMENTS):
        return None
    if says_nothing(secret) or _is_directory(text, found.begin, secret):
        return None
    if _MASK_FIRST.match(secret) or _PAM_PHASE.match(text, start):
        return None
    if "colon" in found.marks and _is_prose(text, found, secret):
        return None
    return start, start + len(secret)


def _unquoted(secret: bytes) -> bytes:
    cut = _CUT.search(secret)
    return (secret[: cut.start()] if cut else secret).rstrip(_CLOSING)


def _is_directory(text: bytes, begin: int, secret: bytes) -> bool:
    """Tell whether `PWD` means the working directory."""
    return text[begin : begin + 3].lower() == b"pwd" and secret[:1] in {b"/", b"~"}


def _is_prose(text: bytes, found: Sighting, secret: bytes) -> bool:
    if text[found.start - 1 : found.start] not in {b" ", b"\t"}:
        return False
    word = secret.rstrip(b".!?:").lower()
    if word in _STATEMENTS or _is_path(text, found.begin):
        return True
    return word.isalpha() and _NEXT_WORD.match(text, found.start + len(secret)) is not None


def _is_path(text: bytes, start: int) -> bool:
    """Tell whether the key is the last part of a path, as in `cat: /etc/passwd: Permission denied`."""
    lowest = max(0, start - _LOOK_BACK)
    while start > lowest and text[start - 1] in _NAME_BYTES:
        start -= 1
    return text[start - 1 : start] == b"/"


_CARD_LENGTHS: Final = (
    (re.compile(rb"4"), frozenset((13, 16, 19))),
    (re.compile(rb"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720|220[0-4]"), frozenset((16, 17, 18, 19))),
    (re.compile(rb"3[47]"), frozenset((15,))),
    (re.compile(rb"6011|64[4-9]|65|62|35(?:2[89]|[3-8])|8[12]|508[5-9]|9792"), frozenset((16, 17, 18, 19))),
    (re.compile(rb"30[0-5]|309|36|3[89]"), frozenset((14, 15, 16, 17, 18, 19))),
    (re.compile(rb"5018|5020|5038|5893|6304|6759|676[1-3]"), frozenset(range(13, 20))),
)
"""What numbers of payment cards begin with, by network, and how many digits they have."""


def card(text: bytes, found: Sighting) -> Place:
    """Accept the number of a payment card: an issuer's prefix, its length, a valid check digit, and nothing beside it."""
    start, end = found.start, found.end
    digits = text[start:end].replace(b" ", b"").replace(b"-", b"")
    if not any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in _CARD_LENGTHS):
        return None
    if not _passes_luhn(digits) or _is_part_of_more(text, start, end):
        return None
    return start, end


def _passes_luhn(digits: bytes) -> bool:
    total = 0
    for place, byte in enumerate(reversed(digits)):
        digit = byte - 48
        total += digit if place % 2 == 0 else (2 * digit if digit < 5 else 2 * digit - 9)
    return total % 10 == 0


def _is_part_of_more(text: bytes, start: int, end: int) -> bool:
    """Tell whether the number belongs to a longer one, a word or an identifier."""
    before, after = text[max(0, start - 3) : start], text[end : end + 2]
    escaped = len(before) == 3 and before[:1] == b"%"
    if (before[-1:].isalnum() and not escaped) or b"*" in {before[-1:], after[:1]}:
        return True
    if before[-1:] in {b".", b"-"} and before[-2:-1].isalnum():
        return True
    return after[:1].isalnum() or (after[:1] in {b".", b"-", b"_"} and after[1:].isalnum())


_UNIT_SUFFIXES: Final = frozenset(b"service socket target mount automount swap timer path slice scope device local".split())


def email(text: bytes, found: Sighting) -> Place:
    """Accept an address, but no instance of a systemd unit (`getty@tty1.service`)."""
    start, end = found.start, found.end
    return None if text[start:end].rpartition(b".")[2] in _UNIT_SUFFIXES else (start, end)
