"""The built-in classifiers: what the text of a log event says by its form, where no pattern knows it by its words.

Asked in the order of `CLASSIFIERS`: whole-body formats first, since their fields are exact; then prefixes; severity words last,
since they are the weakest evidence. Each is a pure function with a trigger without which a text is certainly not its own, takes
time linear in the text, and never raises whatever the text holds. What they extract has OpenTelemetry's names where there
are any (`exception.message`, `http.response.status_code`, `code.file.path` …), else `logger` and `logged_at`, the time that the
text itself gives (RFC 3339).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tapio_otel.classification import Classifier
from tapio_otel.classifiers.access_log import CLASSIFIER as ACCESS_LOG
from tapio_otel.classifiers.json import CLASSIFIER as JSON
from tapio_otel.classifiers.kernel_prefix import CLASSIFIER as KERNEL_PREFIX
from tapio_otel.classifiers.klog import CLASSIFIER as KLOG
from tapio_otel.classifiers.logfmt import CLASSIFIER as LOGFMT
from tapio_otel.classifiers.severity_word import CLASSIFIER as SEVERITY_WORD

CLASSIFIERS: Final[Mapping[str, Classifier]] = {
    "json": JSON,
    "logfmt": LOGFMT,
    "klog": KLOG,
    "access_log": ACCESS_LOG,
    "kernel_prefix": KERNEL_PREFIX,
    "severity_word": SEVERITY_WORD,
}
"""The built-in classifiers by name, in the order in which they are asked."""
