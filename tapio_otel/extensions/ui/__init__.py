"""`ui`: serves the page that shows what happened on this node, and the JSON API that it is made from.

Listens on this machine only unless told otherwise, and then asks for a token. Shows the events that a sqlite exporter keeps, or
without one the last in memory; live events come straight from the pipelines. It never makes a pipeline wait: queries run in
threads, and a live stream that is too slow loses events and is told so. Nothing can be changed through it.
"""

from __future__ import annotations

from tapio_otel.extensions.ui.config import UiConfig
from tapio_otel.extensions.ui.extension import UiExtension

__all__ = ["UiConfig", "UiExtension"]
