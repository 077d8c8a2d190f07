"""Pydantic's complaints in plain words."""

from __future__ import annotations

import pytest

from tests.config.sample import SERVICE, exporter_problems, problems, receiver_problems


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("directory: 5", "directory: expected text, found 5; put it in quotes"),
        ("directory: true", "directory: expected text, found true; put it in quotes"),
        ("directory: [a]", "directory: expected text, found a list"),
        ("priority: high", "priority: expected a whole number, found 'high'"),
        ("priority: 1.5", "priority: expected a whole number, found 1.5"),
        ("priority: true", "priority: expected a number, found true"),
        ("priority: 8", "priority: expected a value of at most 7, found 8"),
        ("priority: -1", "priority: expected a value of at least 0, found -1"),
        ("priority: ", "priority: expected a whole number, found nothing"),
        ("ratio: x", "ratio: expected a number, found 'x'"),
        ("follow: perhaps", "follow: expected true or false, found 'perhaps'"),
        ("follow: 3", "follow: expected true or false, found 3"),
        ("units: ssh", "units: expected a list, such as [one, two], found 'ssh'"),
        ("units: {a: b}", "units: expected a list, such as [one, two], found a mapping"),
        ("units: [a, 2]", "units[1]: expected text, found 2; put it in quotes"),
        ("matches: [{a: 1}]", "matches[0].a: expected text, found 1; put it in quotes"),
        ("matches: [a]", "matches[0]: expected a mapping of names to values, found 'a'"),
        ("fields: some", "fields: expected 'default' or 'all' or a list, such as [one, two], found 'some'"),
        ("fields: al", "fields: expected 'default' or 'all' or a list, such as [one, two], found 'al'; did you mean 'all'?"),
        ("fields: [1]", "fields[0]: expected text, found 1; put it in quotes"),
        ("max_message_size: big", "max_message_size: expected a number of bytes, or one with a unit, such as "
         "1048576, 64KiB or 16MiB, found 'big'"),
        ("poll_interval: 5", "poll_interval: expected a duration with its unit, such as 200ms, 5s, 1m30s or 1h, found 5"),
        ("poll_interval: 1.5", "poll_interval: expected a duration with its unit, such as 200ms, 5s, 1m30s or 1h, found 1.5"),
        ("poll_interval: -1s", "poll_interval: expected a duration with its unit, such as 200ms, 5s, 1m30s or 1h, found '-1s'"),
        ("folow: true", "folow: unknown option 'folow'; did you mean 'follow'?"),
        ("startAt: end", "startAt: unknown option 'startAt'; did you mean 'start_at'?"),
        ("Start-At: end", "Start-At: unknown option 'Start-At'; did you mean 'start_at'?"),
        ("qqq: 1", "qqq: unknown option 'qqq'; known are directory, fields, follow, matches, max_message_size, poll_interval, "
         "priority, ratio, start_at, units"),
    ],
)  # fmt: skip
def test_a_wrong_option_says_what_is_expected_and_what_was_found(options: str, message: str) -> None:
    """One message for each kind of mistake, at its line and path."""
    assert receiver_problems(options) == [f"a.yaml:2: receivers.journald.{message}"]


def test_a_long_value_is_shortened() -> None:
    """A message stays readable."""
    assert receiver_problems(f"start_at: {'x' * 500}")[0].endswith(f"found '{'x' * 80}...'")


def test_a_validators_own_words_are_kept() -> None:
    """The value is not repeated when the words have it already."""
    assert exporter_problems("code: bad1") == ["a.yaml:4: exporters.debug.code: codes do not begin with bad, as 'bad1' does"]


def test_a_rule_over_several_options_is_told_at_the_component() -> None:
    """No single option is to blame."""
    assert exporter_problems("level: 1") == ["a.yaml:4: exporters.debug: level 1 needs verbosity normal or detailed"]


def _otlp_problems(options: str) -> list[str]:
    return problems(f"receivers:\n  journald:\nexporters:\n  debug:\n  otlp:\n{options}{SERVICE}")


def test_an_option_one_level_too_high_is_told_where_it_belongs() -> None:
    """`insecure` beside `tls` is a mistake that everybody makes once."""
    assert _otlp_problems("    insecure: true\n") == [
        "a.yaml:6: exporters.otlp.insecure: unknown option 'insecure' here; it belongs under tls"
    ]


def test_an_unknown_nested_option_suggests_its_neighbours() -> None:
    """Suggestions come from the group the option stands in."""
    assert _otlp_problems("    tls:\n      insecur: true\n") == [
        "a.yaml:7: exporters.otlp.tls.insecur: unknown option 'insecur'; did you mean 'insecure'?"
    ]


@pytest.mark.parametrize(
    "options",
    [
        "    headers: {x-key: [hunter22]}\n",
        "    headers: {x-key: 22334455}\n",
        "    headers: hunter22\n",
        "    headers: [hunter22]\n",
        "    tls: {key_pem: [hunter22]}\n",
        "    tls: {key_pem: 22334455}\n",
        "    tls: {password: hunter22}\n",
        "    endpoint: [https://u:hunter22@h]\n",
        "    compression: https://u:hunter22@h\n",
    ],
)
def test_no_message_shows_a_secret(options: str) -> None:
    """Headers, secret options and passwords in URLs are left out of messages."""
    text = "\n".join(_otlp_problems(options))
    assert "hunter22" not in text
    assert "22334455" not in text


def test_a_secret_option_is_told_without_its_value() -> None:
    """What to do is said all the same."""
    assert _otlp_problems("    headers: {x-key: 22334455}\n") == [
        "a.yaml:6: exporters.otlp.headers.x-key: expected text, found a secret value (not shown); put it in quotes"
    ]
    assert exporter_problems("pin: 1234") == [
        "a.yaml:4: exporters.debug.pin: expected text, found a secret value (not shown); put it in quotes"
    ]


def test_a_secret_that_appears_in_another_message_is_left_out_there_too() -> None:
    """A validator may quote what it likes."""
    found = exporter_problems("code: badhunter22, pin: badhunter22")
    assert found == ["a.yaml:4: exporters.debug.code: codes do not begin with bad, as '[REDACTED]' does"]


def test_a_value_from_a_secret_variable_is_not_shown() -> None:
    """The variable's name tells that its value is secret, wherever it is put."""
    found = receiver_problems("start_at: '${env:API_TOKEN}'", env={"API_TOKEN": "hunter22"})
    assert found == ["a.yaml:2: receivers.journald.start_at: expected 'beginning' or 'end', found a secret value (not shown)"]


def test_very_many_problems_are_cut_off() -> None:
    """Nobody reads thousands; the rest is counted."""
    found = receiver_problems(", ".join(f"o{index}: 1" for index in range(1000)))
    assert len(found) == 201
    assert "800 more problems here are not listed; correct these first" in "\n".join(found)
