"""The server meets what can be made from its own OpenAPI document: right and wrong requests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from scripted_replies import ScriptedReplier
from serving_client import serving

# `make fuzz` sets it: cases for each of the endpoints that take a body
CASES = int(os.environ.get("FORETHOUGHT_FUZZ", "40"))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    thinker = ScriptedReplier("thinker", reasoning=("Hm.",))
    with serving(ScriptedReplier(), thinker, api_key="k") as address:
        yield address


@pytest.fixture(scope="module")
def api(url: str) -> Any:
    return schemathesis.openapi.from_url(
        f"{url}/openapi.json", headers={"Authorization": "Bearer k"}
    )


document = schemathesis.pytest.from_fixture("api")


@document.parametrize()
@settings(
    max_examples=CASES,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_all_requests_are_met_as_the_document_says(case: schemathesis.Case) -> None:
    case.call_and_validate(headers={"Authorization": "Bearer k"})


def test_the_document_names_models_errors_and_keys(url: str) -> None:
    headers = {"authorization": "Bearer k"}
    found = httpx.get(f"{url}/openapi.json", headers=headers).json()
    schemas = found["components"]["schemas"]
    assert schemas["ChatBody"]["properties"]["model"]["enum"] == ["scripted", "thinker"]
    assert {"ChatCompletion", "ChatChunk", "TextCompletion", "ErrorBody"} <= set(schemas)
    chat = found["paths"]["/v1/chat/completions"]["post"]
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert "422" not in chat["responses"]
    assert found["paths"]["/health"]["get"]["security"] == []
    references = [part.split('"')[0] for part in str(found).split("#/components/schemas/")[1:]]
    assert {name.split("'")[0] for name in references} <= set(schemas)
