"""No parser is brought down by what it is given: a fuzzer's short run, and texts that are as long as they get."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.requirements import require

RUNS = 3000
SEEDS = [
    'level=error msg="dial tcp 192.0.2.1:5432: connect: connection refused" trace_id=4bf92f3577b34da6a3ce929d0e0e4736',
    '{"level":"error","msg":"x","time":1763884800000,"dd":{"trace_id":"1234567890123456789","span_id":"1"}}',
    'E1123 08:44:01.123456    1234 file.go:123] "Error syncing pod" err="x" pod="ns/web"',
    '192.0.2.1 - - [23/Nov/2026:08:00:00 +0000] "GET / HTTP/1.1" 503 12 "-" "curl/8"',
    "<3>Out of memory: Killed process 4242 (java) total-vm:1kB, anon-rss:2kB",
    "2026-11-23 08:00:00,123 ERROR [main] c.e.Foo - b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1",
    "__CURSOR=s=1\nMESSAGE=connect() failed (111: Connection refused)\nPRIORITY=3\n\n",
    "password=hunter2 https://user:secret@example.com/ 4111 1111 1111 1111",
    'severity_number >= ERROR && attributes["x"].startsWith("a") || has(labels.b)',
    "- {name: a, pattern: 'x(?P<n>\\d+)', event_type: t, severity: error, extract: {n: int}, title: '{n}'}",
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzzer_finds_nothing(name: str, tmp_path: Path) -> None:
    """Thousands of inputs made to reach new code raise nothing that is not promised."""
    require("fuzzer", find_spec("atheris") is not None, "the Python package atheris, which has no build for this platform")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS):
        (corpus / str(number)).write_text(seed)
    options = [f"-runs={RUNS}", "-max_len=2048", "-seed=7", "-timeout=20", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.targets", name, str(corpus), *options],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-4000:]
    finished = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    assert finished is not None and int(finished[1]) >= RUNS


MEBIBYTE = 1 << 20
LONG = {
    "one letter": "a" * MEBIBYTE,
    "blanks": " " * MEBIBYTE,
    "digits": "4111111111111111 " * (MEBIBYTE // 17),
    "pairs": "level=error a=b " * (MEBIBYTE // 16),
    "open quotes": '"' * MEBIBYTE,
    "escaped quotes": 'level=error msg="' + '\\"' * (MEBIBYTE // 2),
    "open braces": "{" * MEBIBYTE,
    "open brackets in JSON": '{"level":"error","trace_id":' + "[" * MEBIBYTE,
    "JSON keys": '{"level":"error"' + ',"trace_id":"x"' * (MEBIBYTE // 15) + "}",
    "trace hints": "trace_id=0 traceparent=00- b3=0 Root=1- " * (MEBIBYTE // 40),
    "hex": "deadbeef" * (MEBIBYTE // 8),
    "stack": "Traceback (most recent call last):\n" + '  File "a.py", line 1, in f\n' * (MEBIBYTE // 30),
    "at signs": "https://a:b" + "@" * MEBIBYTE,
    "password signs": "password=" * (MEBIBYTE // 9),
    "private key": "-----BEGIN PRIVATE KEY-----\n" + "QUJD" * (MEBIBYTE // 4),
    "percent": "%3a" * (MEBIBYTE // 3) + " uber-trace-id",
    "bytes above ASCII": "é" * (MEBIBYTE // 2),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["classifiers", "trace_text", "understanding", "redaction"])
@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_text_of_a_mebibyte_is_taken_in_linear_time(name: str, text: str) -> None:
    """What is quadratic in a text this long would not end within the test's time limit."""
    TARGETS[name]()(text.encode())
