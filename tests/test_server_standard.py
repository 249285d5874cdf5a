"""LangChain's own suite on the default target, as `ChatOpenAI` meets it behind the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest
from conftest import variant
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from serving_client import serving

from forethought import Engine
from forethought.chat import PlainReplier
from forethought.config import EngineConfig

pytestmark = pytest.mark.pair

SMALL = EngineConfig(context_size=4096, max_sequences=16)


# langchain-openai puts what it parsed where openai's type says there is nothing
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema")
class TestChatOpenAIOnTheServer(ChatModelIntegrationTests):
    address: ClassVar[str]
    model_name: ClassVar[str]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def served(cls) -> Iterator[None]:
        with ExitStack() as opened:
            path = variant("qwen2.5-coder-1.5b", "q4_0")
            engine = opened.enter_context(Engine(path, config=SMALL))
            cls.address = opened.enter_context(serving(PlainReplier(engine)))
            cls.model_name = engine.name
            yield

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": self.model_name,
            "base_url": f"{self.address}/v1",
            "api_key": "none",
            "temperature": 0,
            "max_tokens": 128,
            "stream_usage": True,  # it asks for it by itself of OpenAI's own address alone
            # tests have an event loop each, and ChatOpenAI one pool of connections for all
            "default_headers": {"Connection": "close"},
        }

    @property
    def supports_json_mode(self) -> bool:
        return True
