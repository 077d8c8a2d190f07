"""The options of `redaction`; where the collector's redaction processor has one, by its name and with its meaning."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from tapio_otel.component import ComponentConfig
from tapio_otel.config.suggest import suggestion
from tapio_otel.config.types import Secret
from tapio_otel.processors.redaction.detectors import BUILTIN

BLOCKED_VALUES: Final = "blocked_values"
BLOCKED_KEYS: Final = "blocked_keys"
REST: Final = "rest"
"""What is counted where all the rest of a text was masked, as it held too many secrets."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")

Action: TypeAlias = Literal["mask", "hash", "drop"]


def _checked(pattern: str) -> str:
    from tapio_otel.patterns.expressions import Refused, check_expression

    try:
        check_expression(pattern)
    except Refused as error:
        raise ValueError(f"{pattern!r} {error}") from None
    return pattern


Expression = Annotated[str, AfterValidator(_checked)]


class RedactionConfig(ComponentConfig):
    """Be the options of `redaction`."""

    patterns: dict[str, Expression] = Field(
        default_factory=dict,
        description="Detectors of your own: RE2 expressions by name. The group `secret` is replaced, without one all of it.",
    )
    detectors: dict[str, bool | Action] = Field(
        default_factory=dict,
        description="Detectors by name, built-in ones and those under `patterns`: `true` or `false` switches one on or off; "
        "`mask`, `hash` or `drop` switches it on with an action of its own.",
    )
    action: Action = Field(
        "mask",
        description="What becomes of a secret: `mask` writes `****`, `hash` writes `****` and 16 hex digits that are the same "
        "for equal secrets, `drop` removes the attribute, label or annotation (a message is masked).",
    )
    salt: Secret = Field(
        SecretStr(""),
        description="Key of the hashes (HMAC-SHA-256). Without one they are plain SHA-256, and short secrets can be guessed.",
    )
    allow_all_keys: bool = Field(
        True, description="Keep all attributes, labels and annotations. When false, only allowed and ignored keys stay."
    )
    allowed_keys: list[str] = Field(
        default_factory=list,
        description="Keys that stay when `allow_all_keys` is false; their values are redacted. What names the resource stays.",
    )
    ignored_keys: list[str] = Field(default_factory=list, description="Keys that stay, and whose values are never redacted.")
    ignored_key_patterns: list[Expression] = Field(
        default_factory=list, description="RE2 expressions: keys that one of them matches are ignored keys."
    )
    blocked_key_patterns: list[Expression] = Field(
        default_factory=list, description="RE2 expressions: of keys that one of them matches, the whole value is redacted."
    )
    blocked_values: list[Expression] = Field(
        default_factory=list, description="RE2 expressions: what one of them matches in a text is redacted."
    )
    allowed_values: list[Expression] = Field(
        default_factory=list, description="RE2 expressions: what lies within a match of one of them is not redacted."
    )
    redact_all_types: bool = Field(False, description="Look at numbers as well, such as card numbers that are no text.")
    summary: Literal["debug", "info", "silent"] = Field(
        "silent",
        description="Attributes that tell of redaction: `info` adds `redaction.masked.count` and `redaction.redacted.count`, "
        "`debug` also the keys, `redaction.masked.keys` and `redaction.redacted.keys`.",
    )

    @field_validator("patterns")
    @classmethod
    def _names_are_free(cls, patterns: dict[str, str]) -> dict[str, str]:
        for name in patterns:
            if name in _RESERVED or name == REST:
                raise ValueError(f"{name!r} is the name of a built-in detector; choose another")
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a detector; write it in lower_snake_case")
        return patterns

    @field_validator("detectors")
    @classmethod
    def _detectors_exist(cls, detectors: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        known = _RESERVED.union(info.data.get("patterns", detectors))  # patterns that are wrong have been told of already
        for name in detectors:
            if name not in known:
                raise ValueError(f"there is no detector {name!r}; {suggestion(name, known, 'known are')}")
        return detectors

    def action_of(self, name: str, default: bool = True) -> Action | None:
        """Return what a detector does; None when it is switched off."""
        chosen = self.detectors.get(name, default)
        if chosen is False:
            return None
        return self.action if chosen is True else chosen


_RESERVED: Final = frozenset({detector.name for detector in BUILTIN} | {BLOCKED_VALUES, BLOCKED_KEYS})
