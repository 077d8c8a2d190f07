"""severity_word: the forms in which software writes its severity, and the sentences that only mention one."""

from __future__ import annotations

import pytest

from tapio_otel.event import Severity
from tests.classifiers.support import ask, trigger

FORMS = [
    ("ERROR: disk is full", Severity.ERROR),
    ("error: cannot open shared object", Severity.ERROR),
    ("Warning: remote host identification has changed", Severity.WARNING),
    ("fatal: not a repository", Severity.ERROR),
    ("cc: fatal error: no input files", Severity.ERROR),
    ("fatal error: foo.h: No such file or directory", Severity.ERROR),
    ("sshd[12]: fatal: Timeout before authentication for 192.0.2.1", Severity.ERROR),
    ("FATAL: out of room", Severity.CRITICAL),
    ("Fatal error: Index out of range", Severity.CRITICAL),
    ("FATAL it broke", Severity.CRITICAL),
    ("CRITICAL: 5 disks failed", Severity.CRITICAL),
    ("CRITICAL: 5 errors in 10 s", Severity.CRITICAL),
    ("[fatal] out of room", Severity.CRITICAL),
    ("level: fatal, message: out of room", Severity.CRITICAL),
    ("ERROR: 404, GET /a", Severity.ERROR),
    ("ERROR: log level 12 is none", Severity.ERROR),
    ("CRITICAL level of coolant", Severity.CRITICAL),
    ("[error] upstream is gone", Severity.ERROR),
    ("[ERROR] upstream is gone", Severity.ERROR),
    ("[WARNING]  (123) : config : missing timeouts", Severity.WARNING),
    ("[ALERT]    (1) : no server left", Severity.ALERT),
    ("ERROR:app.views:it broke", Severity.ERROR),
    ("SEVERE: Servlet.service() failed", Severity.ERROR),
    ("WARN  [reader-1] 2026-11-23 08:00:00,123 Reader.java:12 - slow read", Severity.WARNING),
    ("ERRO[0000] it broke", Severity.ERROR),
    ("FATA[2026-11-23T08:00:00Z] it broke", Severity.CRITICAL),
    ("npm ERR! code ENOENT", Severity.ERROR),
    ("E: Unable to locate package", Severity.ERROR),
    ("W: Some index files failed to download", Severity.WARNING),
    ("PHP Fatal error:  Uncaught TypeError in /srv/a.php:3", Severity.CRITICAL),
    ("imap(someone): Error: stat() failed", Severity.ERROR),
    ("sshd[12]: error: PAM: no such user", Severity.ERROR),
    ("nginx: [error] open() failed", Severity.ERROR),
    ("nginx: [emerg] bind() to 0.0.0.0:80 failed", Severity.EMERGENCY),
    ("fail2ban.filter         [812]: WARNING Found a match", Severity.WARNING),
    ("fail2ban.actions        [812]: NOTICE  [sshd] Ban 192.0.2.1", Severity.NOTICE),
    (" WARN hyper::client: it is slow", Severity.WARNING),
    ("=CRASH REPORT==== 23-Nov-2026::08:00:00 ===", Severity.ERROR),
    ("=ERROR REPORT==== 23-Nov-2026::08:00:00 ===", Severity.ERROR),
    ("level: error, message: it broke", Severity.ERROR),
    ("LOG:  checkpoint starting: time", Severity.INFO),
    ('ERROR:  relation "orders" does not exist at character 15', Severity.ERROR),
    ("FATAL:  the database system is starting up", Severity.ERROR),
    ("PANIC:  could not write to file", Severity.CRITICAL),
]
BEHIND_TIME = [
    ("2026-11-23 08:00:00,123 ERROR [main] c.e.Foo - it broke", Severity.ERROR, "[main] c.e.Foo - it broke"),
    ("08:00:00.123 [main] WARN  c.e.Foo - it is slow", Severity.WARNING, "c.e.Foo - it is slow"),
    ("[main] ERROR c.e.Foo - it broke", Severity.ERROR, "c.e.Foo - it broke"),
    ("2026-11-23 08:00:00.123 ERROR 12 --- [main] c.e.Foo : it broke", Severity.ERROR, "12 --- [main] c.e.Foo : it broke"),
    ("2026/11/23 08:00:00 [error] 12#12: *1 it broke", Severity.ERROR, "12#12: *1 it broke"),
    ("2026/11/23 08:00:00 [emerg] 12#12: bind() failed", Severity.EMERGENCY, "12#12: bind() failed"),
    ("[Mon Nov 23 08:00:00.123456 2026] [core:error] [pid 1:tid 2] it broke", Severity.ERROR, "[pid 1:tid 2] it broke"),
    ("2026-11-23 08:00:00.123 UTC [12] ERROR:  it broke", Severity.ERROR, "it broke"),
    ("2026-11-23 08:00:00.123 UTC [12] bob@shop FATAL:  too many clients", Severity.ERROR, "too many clients"),
    ("2026-11-23 08:00:00.123 UTC [12] LOG:  checkpoint starting", Severity.INFO, "checkpoint starting"),
    ("2026-11-23T08:00:00.123456Z 0 [ERROR] [MY-010000] [Server] it broke", Severity.ERROR, "[MY-010000] [Server] it broke"),
    ("2026-11-23  8:00:00 0 [Note] InnoDB: started", Severity.NOTICE, "InnoDB: started"),
    ("12:M 23 Nov 2026 08:00:00.123 # WARNING overcommit", Severity.WARNING, "WARNING overcommit"),
    ("12:M 23 Nov 2026 08:00:00.123 * Ready to accept", Severity.NOTICE, "Ready to accept"),
    ("[2026-11-23 08:00:00 +0000] [12] [ERROR] Worker failed", Severity.ERROR, "Worker failed"),
    ("[2026-11-23 08:00:00,123: ERROR/MainProcess] Task failed", Severity.ERROR, "Task failed"),
    ("[2026-11-23T08:00:00.123+0000] {job.py:12} ERROR - it broke", Severity.ERROR, "it broke"),
    ("E, [2026-11-23T08:00:00.123456 #12] ERROR -- : it broke", Severity.ERROR, "it broke"),
    ("[2026-11-23T08:00:00.123456+00:00] app.CRITICAL: it broke []", Severity.CRITICAL, "it broke []"),
    ("[23-Nov-2026 08:00:00] WARNING: [pool www] busy", Severity.WARNING, "[pool www] busy"),
    ("[23-Nov-2026 08:00:00 UTC] PHP Warning:  it is slow", Severity.WARNING, "it is slow"),
    ("23-Nov-2026 08:00:00.123 SEVERE [main] org.example.Foo it broke", Severity.ERROR, "[main] org.example.Foo it broke"),
    ("2026-11-23 08:00:00.123456+00:00 [error] <0.123.0> it broke", Severity.ERROR, "<0.123.0> it broke"),
    ("[2026-11-23T08:00:00,123][WARN ][o.e.c.Foo] [node] slow", Severity.WARNING, "[o.e.c.Foo] [node] slow"),
    ("2026.11.23 08:00:00.123456 [ 12 ] {} <Error> Application: it broke", Severity.ERROR, "Application: it broke"),
    ("[08:00:00 ERR] it broke", Severity.ERROR, "it broke"),
    ("8:00AM ERR it broke", Severity.ERROR, "it broke"),
    ("2026-11-23T08:00:00.000Z\tERROR\tit broke", Severity.ERROR, "it broke"),
    ("[2026-11-23T08:00:00Z ERROR app::db] it broke", Severity.ERROR, "it broke"),
    ("2026-11-23T08:00:00.123456Z  WARN app: slow", Severity.WARNING, "app: slow"),
    ("\x1b[2m2026-11-23T08:00:00Z\x1b[0m \x1b[31mERROR\x1b[0m app: it broke", Severity.ERROR, "app: it broke"),
    ("2026-11-23 08:00:00,123 - shop.cart - ERROR - it broke", Severity.ERROR, "it broke"),
    ("2026-11-23 08:00:00.123 | ERROR    | shop:pay:12 - it broke", Severity.ERROR, "shop:pay:12 - it broke"),
    ("26/11/23 08:00:00 WARN Loader: slow", Severity.WARNING, "Loader: slow"),
    ("2026-11-23 08:00:00.123456 E | server: it broke", Severity.ERROR, "server: it broke"),
    ("Nov 23 08:00:00 node1 app[12]: ERROR: it broke", Severity.ERROR, "it broke"),
    ("2026-11-23 08:00:00,123 - root - ERROR - it broke", Severity.ERROR, "it broke"),
    ("2026-11-23 08:00:00 panic: it broke", Severity.CRITICAL, "it broke"),
    ("2026-11-23 08:00:00 0 [System] [MY-010931] ready", Severity.INFO, "[MY-010931] ready"),
    ("<3>Nov 23 08:00:00 node1 app[12]: ERROR: it broke", Severity.ERROR, "it broke"),
    ("fail: Shop.Cart[0]\n      it broke", Severity.ERROR, "it broke"),
    ("Nov 23, 2026 8:00:00 AM org.example.Foo run\nSEVERE: it broke", Severity.ERROR, "it broke"),
]
SENTENCES = [
    "no errors found",
    "0 errors, 0 warnings",
    "error_count=0",
    "errors: 0",
    "error: none",
    "Error: 0",
    "error: (null)",
    "CRITICAL: 0, WARNING: 0",
    "CRITICAL: 0, WARNING: 2",
    "CRITICAL: 1 HIGH: 5 MEDIUM: 9",
    "CRITICAL 0 / WARNING 0",
    "Error: 3, warnings: 0",
    "2026-11-23 08:00:00 CRITICAL: 0, WARNING: 0",
    "FATAL LOG LEVEL enabled",
    "CRITICAL logging levels set",
    "2026-11-23 08:00:00 CRITICAL log level is on",
    "Error reporting enabled",
    "2026-11-23 08:00:00 Error reporting enabled",
    "The ERROR was corrected",
    "3 ERROR messages found",
    "Log level: error is set",
    "Setting level=error now",
    "warning threshold set to 5",
    "critical section entered",
    "Alert manager ready",
    "Reached target emergency.target - Emergency Mode.",
    "Emergency mode disabled",
    "panic_on_oops = 1",
    "kernel.panic = 10",
    "note: to see the rest run it again",
    "config: loaded",
    "EXT4-fs (sda1): mounted filesystem. Opts: errors=remount-ro",
    "ERROR_LOG=/var/log/app",
    "2026-11-23 08:00:00,123 12ERROR x",
    "[system] Activating service name='org.example'",
    "fail2ban.filter: WARNING Found a match",
    "job[12]: INFORMATION is missing",
    "12:M 2026-11-23 08:00:00 * Ready",
    '{"a": 1} ERROR: x',
    "Error",
    "info",
    "",
]


@pytest.mark.parametrize(("text", "severity"), FORMS)
def test_a_leading_word_gives_the_severity_and_the_line_stays_the_title(text, severity):
    """The word is at the beginning, in one of the forms that software writes."""
    said = ask("severity_word", text)
    assert (said.severity, said.title) == (severity, "")


@pytest.mark.parametrize(("text", "severity", "title"), BEHIND_TIME)
def test_a_word_behind_a_time_gives_the_severity_and_what_follows_the_title(text, severity, title):
    """The event has a time and a severity of its own; the title is the message alone."""
    said = ask("severity_word", text)
    assert (said.severity, said.title) == (severity, title)


@pytest.mark.parametrize("text", SENTENCES)
def test_a_sentence_that_mentions_a_severity_has_none(text):
    """Words in sentences, counts of none and settings say nothing of this event."""
    assert ask("severity_word", text) is None


def test_a_word_far_from_the_beginning_is_not_looked_for():
    """Only the head of a text can hold a form's word."""
    assert ask("severity_word", "[" + "x" * 70 + "] " + "08:00:00 " * 30 + "ERROR it broke") is None


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23 " + "[1] " * 60,
        "08:00 " + "1a:" * 70,
        "08:00 " + "- a " * 50,
        "[" * 200,
        "08:00 " + "a." * 100,
        "1-" * 100,
        "08:00 " + "[1:" * 60,
        "(" * 100 + ")" * 100,
        "x" * 200 + ": error: y",
    ],
)
def test_a_beginning_that_could_be_read_in_many_ways_is_read_in_one(text):
    """Nothing is found there, and finding that out ends."""
    assert ask("severity_word", text) is None


@pytest.mark.parametrize("text", [text for text, *_ in (*FORMS, *BEHIND_TIME)])
def test_what_follows_the_first_200_characters_decides_nothing(text):
    """A word that ends behind them is not read, and one that ends before them is, whatever follows."""
    short = ask("severity_word", text)
    long = ask("severity_word", text + " " + "x" * 5000)
    assert long.severity is short.severity


def test_the_limits_that_the_trigger_leaves_out_are_kept():
    """The trigger looks for no counts; the classifier does."""
    thread = "[" + "x" * 81 + "] ERROR it broke"
    assert trigger("severity_word").search(thread)
    assert ask("severity_word", thread) is None
