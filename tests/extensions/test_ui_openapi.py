"""`ui`: the OpenAPI document says what the API does; Schemathesis asks everything that it allows, and what it does not."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from tapio_otel.extensions.ui.openapi import openapi_document
from tapio_otel.extensions.ui.routes import _QUERIES
from tests.extensions.ui_agent import POD, TOKEN, event, finding, running


def test_every_reference_leads_somewhere():
    """Every schema is valid by itself."""
    document = openapi_document()
    text = json.dumps(document)
    for part in text.split('"$ref": "')[1:]:
        found = document
        for name in part.partition('"')[0].removeprefix("#/").split("/"):
            found = found[name]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_route_is_documented():
    """With the parameters that it takes, each once."""
    paths = openapi_document()["paths"]
    for path, (_, known) in _QUERIES.items():
        told = [one["name"] for one in paths[f"/{path}"]["get"].get("parameters", ()) if one["in"] == "query"]
        assert told == [one.name for one in known]
    for operations in paths.values():
        for operation in operations.values():
            assert operation["summary"]
            assert all(one["description"] for one in operation.get("parameters", ()))


def what_a_schema_can_say() -> dict[str, Any]:
    """Return the document without what it cannot express: cursors are the agent's own, `until` is not before `since`."""
    document = copy.deepcopy(openapi_document())
    del document["paths"]["/stream"]  # which does not end
    for operations in document["paths"].values():
        for operation in operations.values():
            known = operation.get("parameters", [])
            operation["parameters"] = [one for one in known if one["name"] not in {"cursor", "until"}]
    return document


async def test_schemathesis_finds_nothing_wrong(tmp_path):
    """Answers conform, what is wrong is refused, what is allowed is answered, nothing is a defect or open to strangers."""
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    root, impact = event(0, type="oom_kill", entity=POD), event(1, type="service_restart")
    schema = tmp_path / "openapi.json"
    schema.write_text(json.dumps(what_a_schema_can_say()))
    async with running(tmp_path / "state", "sqlite", options=f"token: {TOKEN}") as agent:
        await agent.feed(root, impact, finding(root, impact), *(event(number, "<b>\x1b[1m é") for number in range(9, 40)))
        command = [
            *(sys.executable, "-W", "ignore", "-c", "import schemathesis.cli; schemathesis.cli.schemathesis()", "run"),
            *(str(schema), "--url", f"{agent.address}api/v1", "--header", f"Authorization: Bearer {TOKEN}"),
            *("--checks", "all", "--phases", "coverage,fuzzing", "--max-examples", "8", "--seed", "1", "--no-color"),
            *("--generation-database", "none", "--request-timeout", "10"),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}
        )
        output, _ = await asyncio.wait_for(process.communicate(), 100)
        assert process.returncode == 0, output.decode()[-6000:]
        assert (await agent.get("events", headers={"Authorization": f"Bearer {TOKEN}"}))[0] == 200
