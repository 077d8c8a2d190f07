"""The page that shows findings and timelines: its built assets, and files of one incident made with them.

The sources are TypeScript, in `ui/` at the top of the repository; `make ui` builds them into `assets/`. Nothing here needs
Node.
"""

from __future__ import annotations

from tapio_otel.ui.html import ASSETS, CONTENT_SECURITY_POLICY, page_of
from tapio_otel.ui.incident import incident_of

__all__ = ["ASSETS", "CONTENT_SECURITY_POLICY", "incident_of", "page_of"]
