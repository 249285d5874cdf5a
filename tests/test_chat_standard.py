"""LangChain's own suites for chat models, on scripted replies and on real weights.

Images, audio, video and documents are switched off: the models read text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from scripted_replier import ScriptedReplier

from forethought.chat import ChatForethought, ChatLlama
from forethought.config import EngineConfig

SMALL = EngineConfig(context_size=4096, max_sequences=16)


class Llama:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLlama


class KeptOpen(Llama):
    """Loads the model once for all tests of a class."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def kept_open(cls) -> Iterator[None]:
        model = ChatLlama(**cls().chat_model_params)
        model.invoke("Hello.")
        yield
        model.close()

    @property
    def chat_model_params(self) -> dict[str, Any]:
        raise NotImplementedError


class Forethought:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatForethought

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"replier": ScriptedReplier()}

    @property
    def supports_json_mode(self) -> bool:
        return False  # a script cannot guess what the prompt describes


class TestChatLlamaUnit(Llama, ChatModelUnitTests):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "smollm2-135m"}


class TestChatForethoughtUnit(Forethought, ChatModelUnitTests):
    pass


class TestChatForethoughtOnAScript(Forethought, ChatModelIntegrationTests):
    pass


@pytest.mark.weights
class TestChatLlamaOnSmolLM2(KeptOpen, ChatModelIntegrationTests):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "smollm2-135m",
            "quant": "original",
            "engine": SMALL,
            "temperature": 0,
            "max_tokens": 48,
        }

    @property
    def model_override_value(self) -> str:
        return "smollm2-135m"

    @property
    def has_tool_calling(self) -> bool:
        return False  # too small to follow a question into a call; on the pair's target below

    @property
    def has_structured_output(self) -> bool:
        return False


@pytest.mark.pair
class TestChatLlamaOnQwen(KeptOpen, ChatModelIntegrationTests):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "qwen2.5-coder-1.5b",
            "quant": "q4_0",
            "engine": SMALL,
            "temperature": 0,
            "max_tokens": 128,
        }

    @property
    def model_override_value(self) -> str:
        return "qwen2.5-coder-1.5b"

    @property
    def supports_json_mode(self) -> bool:
        return True
