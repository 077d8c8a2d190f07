"""The options of `recombine`."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from tapio_otel.component import ComponentConfig
from tapio_otel.config.types import ByteSize, Duration

Language: TypeAlias = Literal["python", "go", "rust", "java", "dotnet", "node", "ruby", "php", "cpp", "kernel"]
LANGUAGES: tuple[Language, ...] = ("python", "go", "rust", "java", "dotnet", "node", "ruby", "php", "cpp", "kernel")


def _regular_expression(text: str) -> str:
    import re2

    try:
        re2.compile(text)
    except re2.error as error:
        said = error.args[0] if error.args else error
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        raise ValueError(f"{text!r} is no RE2 regular expression: {said}") from None
    return text


Regex = Annotated[str, AfterValidator(_regular_expression)]


class Rule(ComponentConfig):
    """Describe a form of your own: which line begins it, which lines continue it, and which one ends it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="What the form is called, in lower_snake_case.")
    first: Regex = Field(description="RE2 regular expression found in the first line. One of the form `^word` costs least.")
    next: Regex | None = Field(
        None, description="RE2 regular expression found in every further line; any line continues when left out."
    )
    until: Regex | None = Field(
        None, description="RE2 regular expression found in the last line, which is joined as well; none when left out."
    )

    @model_validator(mode="after")
    def _ends(self) -> Rule:
        if self.next is None and self.until is None:
            raise ValueError(f"the rule {self.name!r} never ends: give next, until, or both")
        return self


class RecombineConfig(ComponentConfig):
    """Be the options of `recombine`."""

    languages: list[Language] = Field(
        default_factory=lambda: list(LANGUAGES), description="Languages whose stack traces are joined; all of them by default."
    )
    rules: list[Rule] = Field(default_factory=list, description="Forms of your own, besides those of the languages.")
    flush_timeout: Duration = Field(
        1.0, gt=0, description="How long after its last line an unfinished stack waits for another; up to half as long more."
    )
    max_lines: int = Field(500, ge=2, description="Lines in one event at most; the next line begins a further event.")
    max_size: ByteSize = Field(
        256 * 1024, ge=1, description="Size of the text of one event in bytes at most; the next line begins a further event."
    )
    max_groups: int = Field(
        1024, ge=1, description="Unfinished stacks at most, one a stream; for a further one the oldest ends."
    )
