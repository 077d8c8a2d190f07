"""Write deploy/kubernetes/rbac-*.yaml from tapio_otel.kubernetes.rbac; `--check` only says whether they are current."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import yaml

from tapio_otel.kubernetes.rbac import AGENTS, FEATURES, grants

DIRECTORY: Final = Path(__file__).parents[1] / "deploy" / "kubernetes"
NAMESPACE: Final = "tapio-otel"
HEAD: Final = """\
# The service account of the {agent} agent (config/{config}) and the least that it must be allowed:
{features}
# Made by scripts/permissions.py from tapio_otel/kubernetes/rbac.py: change it there.
"""
CONFIGS: Final = {"node": "kubernetes.yaml", "cluster": "kubernetes-cluster.yaml"}


def files() -> dict[Path, str]:
    """Return what the files should hold."""
    return {DIRECTORY / f"rbac-{agent}.yaml": text_of(agent) for agent in AGENTS}


def text_of(agent: str) -> str:
    """Return the manifests of one agent."""
    features = "\n".join(f"#   {name}: {FEATURES[name].description}" for name in AGENTS[agent])
    head = HEAD.format(agent=agent, config=CONFIGS[agent], features=features)
    objects = grants(f"tapio-otel-{agent}", NAMESPACE, AGENTS[agent])
    return head + "".join("---\n" + yaml.safe_dump(one, sort_keys=False) for one in objects)


def main() -> int:
    """Write the files, or compare."""
    wanted = files()
    if "--check" in sys.argv[1:]:
        old = [str(path.name) for path, text in wanted.items() if not path.exists() or path.read_text() != text]
        if old:
            print(f"not current: {', '.join(old)}: run python scripts/permissions.py", file=sys.stderr)  # noqa: T201
        return 1 if old else 0
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for path, text in wanted.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
