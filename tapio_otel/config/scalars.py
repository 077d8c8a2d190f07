"""What an unquoted YAML word stands for: the core schema of YAML 1.2, as the collector and YAML editors read it.

PyYAML follows YAML 1.1, where `no` is false, `1:30` is ninety and `2026-01-01` a date; none of that happens here.
"""

from __future__ import annotations

import re
from typing import Final

from tapio_otel.config.located import Scalar

_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# A leading zero keeps a word text: 0123 is 83 to some readers and 123 to others. Nor are 300 digits a number.
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,300})", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]{1,100}", re.ASCII)
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,100}", re.ASCII)
_FRACTION = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)


def resolve(word: str) -> Scalar:
    """Return the value of an unquoted scalar."""
    if word in _WORDS:
        return _WORDS[word]
    if _DECIMAL.fullmatch(word):
        return int(word)
    if _OCTAL.fullmatch(word) or _HEXADECIMAL.fullmatch(word):
        return int(word, 0)
    return float(word) if len(word) <= 400 and _FRACTION.fullmatch(word) else word
