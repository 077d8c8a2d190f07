"""What the API answers when it cannot do what was asked: a status, a code for programs, and words for people."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """Report why a request is refused. `message` says what was found and what to do; `field` is the parameter it is about."""

    def __init__(self, status: int, code: str, message: str, field: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.headers = headers or {}

    def as_dict(self) -> dict[str, Any]:
        """Return the answer's body."""
        return {"error": {"code": self.code, "message": self.message, "field": self.field or None}}


def invalid(field: str, found: str, remedy: str) -> ApiError:
    """Return the error for a parameter that makes no sense."""
    shown = found if len(found) <= 100 else f"{found[:100]}…"
    return ApiError(400, "invalid_parameter", f"{field}: found {shown!r}: {remedy}", field)
