"""The server meets what can be made from its own OpenAPI document: right and wrong requests."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from scripted_replies import ScriptedReplier
from serving_client import serving

# cases of each kind for each endpoint; `make fuzz` tries more
CASES = int(os.environ.get("FORETHOUGHT_FUZZ", "30"))
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
KEY = {"Authorization": "Bearer k"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    thinker = ScriptedReplier("thinker", reasoning=("Hm.",))
    with serving(ScriptedReplier(), thinker, api_key="k") as address:
        yield address


@pytest.fixture(scope="module")
def api(url: str) -> Any:
    return schemathesis.openapi.from_url(f"{url}/openapi.json", headers=KEY)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/models/{model}"])
def test_requests_are_met_as_the_document_says(api: Any, path: str, mode: GenerationMode) -> None:
    operation = api[path]["GET" if "models" in path else "POST"]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=CASES, phases=[Phase.generate], suppress_health_check=SLOW)
    def meet(case: schemathesis.Case[Any]) -> None:
        response = case.call(headers=KEY)
        # a schema cannot say all that parts of a request have to do with each other
        is_at_odds = b'"invalid_value"' in response.content or b"too_many" in response.content
        excluded: list[Any] = [positive_data_acceptance] if is_at_odds else []
        case.validate_response(response, excluded_checks=excluded)

    meet()


def test_none_of_them_made_the_server_fail(url: str) -> None:
    text = httpx.get(f"{url}/metrics", headers=KEY).text
    found = re.findall(r'responses_total{path="/v1.*status="(\d+)"} (\d+)', text)
    statuses: Counter[str] = Counter()
    for status, count in found:
        statuses[status] += int(count)
    print(dict(statuses))
    assert statuses.total() >= 4 * CASES  # of models there are few
    assert statuses["200"] > CASES
    assert max(statuses) < "500"


def test_the_document_names_models_errors_and_keys(url: str) -> None:
    found = httpx.get(f"{url}/openapi.json", headers=KEY).json()
    schemas = found["components"]["schemas"]
    assert schemas["ChatBody"]["properties"]["model"]["enum"] == ["scripted", "thinker"]
    assert {"ChatCompletion", "ChatChunk", "TextCompletion", "ErrorBody"} <= set(schemas)
    chat = found["paths"]["/v1/chat/completions"]["post"]
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert "422" not in chat["responses"]
    assert found["paths"]["/health"]["get"]["security"] == []
    references = [part.split('"')[0] for part in str(found).split("#/components/schemas/")[1:]]
    assert {name.split("'")[0] for name in references} <= set(schemas)
