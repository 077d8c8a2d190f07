"""What tests of the enrich processor begin with."""

from __future__ import annotations

import pytest

from tests.processors.enrich_samples import machine, pod, processor, teach


@pytest.fixture
def root(tmp_path):
    """Return the root of a machine called node-17."""
    return machine(tmp_path)


@pytest.fixture
async def known(root):
    """Return a processor that knows the pod of `pod()`, its node, namespace and service."""
    made = processor(root, namespace={"labels": ["team"]})
    await teach(made, pods=[pod()])
    return made
