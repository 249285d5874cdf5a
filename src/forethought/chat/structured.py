"""Structured output: JSON schemas from what LangChain's users give, and replies parsed."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass

from forethought.config import require, require_one_of

Method = Literal["json_schema", "function_calling", "json_mode"]
_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


def structured(
    model: BaseChatModel, schema: dict[str, Any] | type, *, method: Method, include_raw: bool
) -> Runnable[LanguageModelInput, Any]:
    """`model`, its replies JSON that is parsed; with `include_raw` a dict of `raw`, `parsed` and
    `parsing_error`."""
    require_one_of("method", method, ("json_schema", "json_mode"))
    told = convert_to_json_schema(schema)
    name = str(told.get("title", "reply"))
    form: dict[str, Any] = {"type": "json_object"}
    if method == "json_schema":
        form = {"type": "json_schema", "json_schema": {"name": name, "schema": told}}
    traced = {"kwargs": {"method": method}, "schema": told}
    writing = model.bind(response_format=form, ls_structured_output_format=traced)
    parser: BaseOutputParser[Any] = JsonOutputParser()
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        parser = PydanticOutputParser(pydantic_object=schema)
    if not include_raw:
        return writing | parser
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=writing) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def schema_of(response_format: Any) -> Mapping[str, Any] | None:
    """The JSON schema that a response format in OpenAI's form asks for, if it asks for one.

    Raises:
        ConfigError: it is of no known type.
    """
    if response_format is None or response_format.get("type") == "text":
        return None
    require_one_of("response_format", response_format.get("type"), ("json_object", "json_schema"))
    if response_format["type"] == "json_object":
        return _ANY_OBJECT
    schema = response_format.get("json_schema", {}).get("schema")
    require(isinstance(schema, Mapping), "the response format has no JSON schema")
    return dict(schema)
