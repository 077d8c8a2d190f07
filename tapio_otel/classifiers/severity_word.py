r"""severity_word: the word for its severity that a line begins with, perhaps behind a time, a process, a thread or a logger.

Read are the forms of log4j, logback, Spring, java.util.logging, Python, Celery, Airflow, gunicorn, Ruby, Monolog, PHP, .NET,
Rust, zap's console, zerolog, logrus, nginx, Apache, PostgreSQL, MySQL, MariaDB, Redis, RabbitMQ, Elasticsearch, ClickHouse,
HAProxy, fail2ban and the Unix tools' `error: …`. The word counts only where a form puts it: with a colon or in brackets, or
in capitals behind a time. In the middle of a sentence it says nothing, and neither do `error: none`, counts by severity
(`CRITICAL: 0, WARNING: 2`) and talk of levels. The `fatal: …` of git, ssh and compilers ends a command and is an error.

The trigger is made of the same expressions, without their limits, so that hardly a text is asked about in vain. They go on
from one thing to the next without going back (`++`, `(?>…)`), which keeps them linear in the 200 characters they look at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from tapio_otel.classification import Classification, Classifier
from tapio_otel.classifiers.severity_name import SEVERITY_NAMES
from tapio_otel.classifiers.title import one_line
from tapio_otel.event import Severity, UnifiedEvent

_HEAD: Final = 200  # characters that are looked at
_ANY: Final = (
    "trace|debug|info|information|notice|note|warning|warn|error|err|severe|critical|crit|fatal|panic|alert|emergency|emerg"
    "|verbose|wrn|ftl|inf|dbg|trc|vrb|crt"
)
_CAPITALS: Final = "TRACE|DEBUG|INFO|WARNING|WARN|ERROR|SEVERE|CRITICAL|FATAL"
_BEHIND_TIME_ONLY: Final = "NOTICE|CRIT|ERR|WRN|FTL|INF|DBG|TRC|VRB|PANIC|ALERT|EMERG|EMERGENCY|CONFIG|FINE|FINER|FINEST"
_BEHIND_PID: Final = f"{_CAPITALS}|NOTICE|CRIT|ALERT|EMERG"
_WITH_COLON: Final = "error|err|warning|warn|fatal|critical|crit|notice|info|debug"
_WITH_COLON_CAPITALS: Final = "ALERT|EMERG|EMERGENCY|PANIC|SEVERE|CONFIG|FINE|FINER|FINEST|TRACE"
_LOGRUS: Final = "PANI|FATA|ERRO|WARN|INFO|DEBU|TRAC"
_OF_POSTGRES: Final = "LOG|DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION"
_OF_PHP: Final = "fatal error|parse error|warning|notice|deprecated"
_DOTNET: Final = "trce|dbug|info|warn|fail|crit"
_JAVA: Final = "SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST"

_SEVERITIES: Final = {
    **SEVERITY_NAMES,
    **dict.fromkeys((*_OF_POSTGRES.lower().split("|"), "system"), Severity.INFO),
    **{"fatal error": Severity.CRITICAL, "parse error": Severity.ERROR, "deprecated": Severity.NOTICE, "trac": Severity.DEBUG},
    **{"err!": Severity.ERROR, "e": Severity.ERROR, "w": Severity.WARNING, "c": Severity.CRITICAL, "n": Severity.NOTICE},
    **{"i": Severity.INFO, "d": Severity.DEBUG, "crash": Severity.ERROR},
    **{".": Severity.DEBUG, "-": Severity.INFO, "*": Severity.NOTICE, "#": Severity.WARNING},
}


def _any_case(words: str) -> str:
    """Return what matches words however they are written; by their first letter, which parts them fastest."""
    endings: dict[str, list[str]] = {}
    for word in words.split("|"):
        endings.setdefault(word[0].lower(), []).append(word[1:].lower())
    return "|".join(f"[{first.upper()}{first}](?i:{'|'.join(rest)})" for first, rest in endings.items())


_ANY_CASE: Final = _any_case(_ANY)
_COLON_WORDS: Final = _any_case(f"{_WITH_COLON}|{_WITH_COLON_CAPITALS}")
_COLON_START_WORDS: Final = _any_case(f"{_WITH_COLON}|fatal error")
_PHP_CASE: Final = _any_case(_OF_PHP)
_DOTNET_CASE: Final = _any_case(_DOTNET)
_BLANK: Final = r"[ \t\r\n]"
_MONTH: Final = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_BRACKETS: Final = r"\[[^\[\]]{1,80}+\]"
_GROUP: Final = r"\([^()]{1,60}+\)|\{[^{}\"]{0,80}+\}|<[^<>]{1,60}+>"
_NAMED_TIME: Final = (  # a day's name, a month's name, or both before a syslog line's host and process (RFC 3164)
    rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) |{_MONTH} +[0-9]{{1,2}} [0-9:]{{8}} [\w.-]{{1,64}}+ [\w./-]{{1,64}}+(?:\[[0-9]++\])?:"
    rf"|{_MONTH} +[0-9]"
)
_DATE: Final = rf"[0-9]{{1,2}}-{_MONTH}-[0-9]{{4}}"
_BETWEEN: Final = (  # what may stand between a time and the word: more of it, a thread, a logger, a user, dashes
    r"(?>[0-9][0-9.,:#*/+\-]*+(?:[TZ][0-9.,:+\-]*+)*+(?![\w@])|[-+#*][0-9][0-9.,:#*/+\-]*+"
    rf"|[|:,]|-{{1,3}}+(?: (?!(?:{_CAPITALS}|{_BEHIND_TIME_ONLY})\b)[\w.]{{1,80}}+(?= -))?|{_GROUP}"
    rf"|(?=[A-Z])(?:(?:AM|PM|UTC|GMT|[A-Z]{{2,4}}T)\b|{_NAMED_TIME})|{_DATE}|[0-9:]++(?=[AP]M\b)"
    rf"|(?:\w++\.)+(?=(?:{_CAPITALS}|{_BEHIND_TIME_ONLY})\b)|[\w.-]{{1,64}}+(?:@[\w.-]{{1,64}}+|(?:\[[0-9]++\])?:)"
    rf"|[A-Za-z_$][\w$]*+(?:\.[\w$]++)+:?)|{_BRACKETS}|\["
)
_COLON: Final = rf":(?:{_BLANK}|\Z)"
_END: Final = rf"(?:{_BLANK}*+[:\]|/>]|{_BLANK}|\Z)"
_IN_BRACKETS: Final = rf"\[{_BLANK}*+(?:[\w.]++:)?({_ANY_CASE}){_BLANK}*+\]"

_BEHIND_TIME: Final = (
    rf"(?:[DIWEFA], )?(?:\[?(?:[0-9]++[-:./][0-9:.,/+\-TZ]*+|{_DATE}|{_NAMED_TIME})|{_BRACKETS}|{_GROUP})"
    rf"(?:[ \t]*+(?:{_BETWEEN}))*?[ \t]*+"
    rf"(?:{_IN_BRACKETS}|\[([Ss](?i:ystem))\]|<({_ANY_CASE})>|(?<!\w)(?=[A-Za-z])(?:({_CAPITALS}|{_BEHIND_TIME_ONLY}){_END}"
    rf"|({_COLON_WORDS}){_COLON}|({_OF_POSTGRES}):  |PHP ({_PHP_CASE}):  |([DINWEC]) \| ))"
)
_REDIS: Final = r"[0-9]++:[XCSM] [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:.]++ ([.*#-]) |"
_WORD_FIRST: Final = (
    rf"({_CAPITALS}):[\w.]++:|({_LOGRUS})\[[0-9TZ:+-]{{4,}}+\]|=(ERROR|WARNING|INFO|CRASH) REPORT===="
    r"|(?:[\w./()-]{1,64}+(?:\[[0-9]++\])?: )?"
    rf"(?:({_COLON_START_WORDS}|{_CAPITALS}|{_WITH_COLON_CAPITALS}){_COLON}|({_OF_POSTGRES}):  |{_IN_BRACKETS})"
    rf"|[\w.-]{{1,64}}+ *+\[[0-9]++\]: ({_BEHIND_PID}){_BLANK}"
    rf"|<({_ANY_CASE})>{_BLANK}|({_CAPITALS})(?:{_BLANK}|\Z)| (INFO|WARN) "
    rf"|PHP ({_PHP_CASE}):  |npm (ERR!|WARN) |([EW]): "
    rf"|(?i:log_?)?(?i:level|severity|lvl)[\"']?{_BLANK}?[:=]{_BLANK}?[\"'\[]?({_ANY_CASE})[\"'\]]?[,;| \t\r\n]"
)
_OF_TWO_LINES: Final = (
    rf"{_MONTH} [0-9]{{1,2}}, [0-9]{{4}} [0-9:]{{7,8}}{_BLANK}[AP]M [^\n]{{1,100}}+\n({_JAVA}): "
    rf"|({_DOTNET_CASE}): [\w.`+<>,]{{1,120}}+\[[0-9]++\][ \t\r]*+\n|"
)
_COLOUR: Final = r"\x1b\[[0-9;]*m"


def _loosened(expression: str) -> str:
    """Return what matches wherever an expression does, in RE2's syntax: without limits, and without looking around."""
    without = re.sub(r"\(\?<?[!=](?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*\)", "", expression.replace("(?>", "(?:"))
    without = re.sub(r"([+*}])\+", r"\1", without).replace(r"\b", "").replace(r"\Z", r"\z")
    return re.sub(r"\{([01]),[0-9]+\}", lambda found: "*+"[int(found[1])], without)


TRIGGER: Final = f"^(?:{_loosened(f'{_OF_TWO_LINES}{_REDIS}{_WORD_FIRST}|{_BEHIND_TIME}')})|{_COLOUR}"


class _Forms(NamedTuple):
    """Match a beginning by one of several forms; the last group that is found is the word."""

    match: Callable[[str], re.Match[str] | None]
    first_untitled: int
    """The group behind which, up to the next, no time stands before the word, so that the whole line stays the title."""
    first_titled: int


@cache
def _forms(before: str, untitled: str) -> _Forms:
    """Compile what a text may begin with, when there is the first such text."""
    compiled = re.compile(f"{before}(?P<untitled>)(?:{untitled})|(?P<titled>){_BEHIND_TIME}", re.ASCII)
    return _Forms(compiled.match, compiled.groupindex["untitled"], compiled.groupindex["titled"])


_NEVER: Final = r"(?!)"
_NOTHING_WRONG: Final = frozenset(
    ("none", "null", "(null)", "nil", "<nil>", "0", "no", "false", "success", "ok", "no error", "-")
)
_LONGEST_NOTHING: Final = 40
_ERROR: Final = Severity.ERROR
_CRITICAL: Final = Severity.CRITICAL
_TOOLS_WORDS: Final = frozenset(("fatal", "fatal error"))
_COUNTED: Final = _any_case(f"{_ANY}|high|medium|moderate|low|negligible|unknown|ok|total|passed|failed|skipped")
_COUNTS: Final = re.compile(  # numbers by severity, one after the other
    rf"[ \t]*+[0-9]{{1,9}}+[ \t]*+[,;|/]?+[ \t]*+(?:{_COUNTED})s?[ \t]*+[:=]?+[ \t]*+[0-9]", re.ASCII
).match
_TALK: Final = re.compile(r"(?i:log(?:ging)?[ _-]?levels?)\b", re.ASCII).match
_UNTITLED: Final = {severity: Classification(severity) for severity in Severity}


def classify(text: str, event: UnifiedEvent) -> Classification | None:  # noqa: ARG001
    """Return the severity that the first word for one gives; the title is what follows where only a time went before."""
    head = text[: _HEAD + 1]
    if "\x1b" in head:
        text = _without_colours(text[: _HEAD * 4])
        head = text[: _HEAD + 1]
    if head[:1].isdigit():
        match, first_untitled, first_titled = _forms(_REDIS, _NEVER)
    else:
        match, first_untitled, first_titled = _forms(_OF_TWO_LINES if "\n" in head else "", _WORD_FIRST)
    found = match(head)
    if found is None or (end := found.end()) > _HEAD:
        return None
    group = found.lastindex or 0
    word, rest = found[group], text[end : end + _HEAD * 4]
    if len(rest) < _LONGEST_NOTHING and rest.strip(" \t.:").lower() in _NOTHING_WRONG:
        return None
    severity = _SEVERITIES[word.lower()]
    if severity is _ERROR or severity is _CRITICAL:
        weighed = _weighed(severity, word, head[found.end(group) : end], rest)
        if weighed is None:
            return None
        severity = weighed
    if first_untitled < group < first_titled:
        return _UNTITLED[severity]
    opened = head.count("[", 0, end)
    if opened and opened > head.count("]", 0, end):
        rest = _behind_bracket(rest)
    return Classification(severity, "", "", one_line(rest.lstrip(" \t:|-")))


def _weighed(severity: Severity, word: str, behind: str, rest: str) -> Severity | None:
    """Return what a grave word means with this right behind it and with this text: perhaps less, or nothing at all."""
    if rest[:2].lstrip()[:1].isdigit() and _COUNTS(rest) is not None:
        return None
    if severity is _CRITICAL:
        if behind.isspace() and _TALK(rest) is not None:
            return None
        # PostgreSQL's FATAL, which has two blanks, ends one session; its syslog output calls it an error.
        if (word == "FATAL" and rest.startswith(" ")) or (word in _TOOLS_WORDS and behind.startswith(":")):
            return _ERROR
    return severity


def _behind_bracket(rest: str) -> str:
    """Return what follows the bracket that the word is in, where it is closed."""
    inside, bracket, behind = rest.partition("]")
    return behind if bracket and "[" not in inside else rest


def _without_colours(text: str) -> str:
    """Return a text without the escape sequences that colour it."""
    first, *rest = text.split("\x1b[")
    return first + "".join(
        part.partition("m")[2] if part[: part.find("m")].replace(";", "").isdigit() else part for part in rest
    )


CLASSIFIER: Final = Classifier(classify, TRIGGER)
