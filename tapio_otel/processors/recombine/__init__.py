"""recombine: joins the lines of a stack trace, which the journal keeps as one entry each, into one event.

Known are the forms of Python, Go, Rust, Java (Kotlin, Scala), .NET, Node.js, Ruby, PHP, C and C++ (sanitizers, `terminate`)
and of the kernel; `rules` adds forms of your own. A line that begins one is held back until a line of the same stream does not
continue it, or none comes for `flush_timeout`, or a limit is reached. It stands before `normalize`.

Guarantees: no line is lost or changed, and none is put twice unless its batch is handed over twice, as by a receiver that was
interrupted; lines that are not joined go on as the events that they were. Lines of one stream stay in order, other streams are
not delayed. How lines are spread over batches makes no difference. A receiver's checkpoint does not pass a line that is held
back, so that a crash loses none; such lines are read again. Memory is bounded by `max_groups` times `max_size` and one line.
"""

from __future__ import annotations

from tapio_otel.processors.recombine.config import RecombineConfig as RecombineConfig
from tapio_otel.processors.recombine.config import Rule as Rule
from tapio_otel.processors.recombine.processor import RecombineProcessor as RecombineProcessor

__all__ = ["RecombineConfig", "RecombineProcessor", "Rule"]
