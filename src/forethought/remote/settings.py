"""How a server elsewhere is spoken to, and what it was found able to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

from forethought.config import require, require_at_least, require_one_of

Continues = Literal["template", "flags", "last", "asked"]
Reads = Literal["echo", "prompt_logprobs"]
OnLoss = Literal["stop", "draft"]

SCHEMES: Final = ("http", "https")


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """One server's settings.

    The key is read from the environment variable `api_key_env`. `continues` says how the server is
    made to go on with a begun answer: "template", through /completions under the chat `template` (a
    Jinja file's path, or "chatml"); "flags", through /chat/completions with vLLM's and SGLang's
    `continue_final_message`; "last", where a last turn of the assistant is continued anyway, as by
    llama-server; "asked", in words. None takes a template where one is given, else the first that a
    trial shows to work. `context_size` counts tokens; 0 takes what the server says.

    At most `concurrency` requests run at a time. A request is tried `attempts` times in all, with
    waits that grow up to `max_wait` seconds, or as long as the server asks for. `timeout` bounds
    the seconds without a byte.
    """

    api_key_env: str = "FORETHOUGHT_API_KEY"
    template: str | None = None
    continues: Continues | None = None
    context_size: int = 0
    concurrency: int = 8
    attempts: int = 4
    timeout: float = 60.0
    max_wait: float = 30.0

    def __post_init__(self) -> None:
        require_one_of("continues", self.continues or "asked", get_args(Continues))
        require(
            self.template is None or self.continues in (None, "template"),
            f"a template is of no use with continues={self.continues!r}: leave one of them out",
        )
        require(
            self.continues != "template" or self.template is not None,
            "continues='template' needs a template: a Jinja file's path, or 'chatml'",
        )
        require_at_least("context_size", self.context_size, 0)
        require_at_least("concurrency", self.concurrency, 1)
        require_at_least("attempts", self.attempts, 1)
        require(self.timeout > 0, f"timeout must be above 0 seconds, not {self.timeout}")
        require_at_least("max_wait", self.max_wait, 0.0)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What trials have shown of a server and one of its models.

    `context_size` in tokens, None where it does not say. `keeps_stop`: it can be asked to leave the
    stop string in the text. `draws_many`: one request may ask for several answers. `filters`: it
    takes `top_k` and `min_p`. `logprobs`: it tells the likeliest next tokens. `reads`: how it tells
    the log-probabilities of a prompt's tokens, None where it does not.
    """

    continues: Continues
    context_size: int | None = None
    keeps_stop: bool = False
    draws_many: bool = False
    filters: bool = False
    logprobs: bool = False
    reads: Reads | None = None


def is_address(spec: str) -> bool:
    """Whether a model's name is the address of a server."""
    return urlsplit(spec).scheme in SCHEMES


def address_of(spec: str) -> tuple[str, str]:
    """The server's address and the model's name, empty where none is given, of
    `https://host/v1#name`.

    Raises:
        ConfigError: it is no address.
    """
    parts = urlsplit(spec)
    is_whole = parts.scheme in SCHEMES and bool(parts.netloc)
    require(is_whole, f"a server is given as https://host/v1#model, not {spec!r}")
    require("@" not in parts.netloc, "a key belongs in the environment, not in an address")
    return parts._replace(fragment="").geturl().rstrip("/"), parts.fragment
