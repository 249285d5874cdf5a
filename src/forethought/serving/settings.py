"""Settings of the server: where it listens, who may ask, and how much it takes on."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from forethought.config import require, require_at_least, require_between


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How the server meets its clients.

    It listens on `host` and `port` (0: any that is free); on another address than this machine's
    own only with an `api_key`. `max_running` replies are written at once and `max_waiting` wait for
    their turn, first come first served; a request that does not fit in is refused. A request may
    take `deadline` seconds, waiting included, ask for `max_choices` replies, and send
    `max_body_bytes`. A reply has `max_tokens` tokens where a request says nothing, and never more.
    On SIGTERM replies have `grace` seconds to end.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    max_running: int = 16
    max_waiting: int = 64
    max_choices: int = 64
    max_tokens: int = 4096
    max_body_bytes: int = 2_000_000
    deadline: float = 600.0
    grace: float = 10.0

    def __post_init__(self) -> None:
        require_between("port", self.port, (0, 65535))
        for name in ("max_running", "max_choices", "max_tokens", "max_body_bytes"):
            require_at_least(name, getattr(self, name), 1)
        require_at_least("max_waiting", self.max_waiting, 0)
        require(self.deadline > 0, f"deadline must be above 0 seconds, not {self.deadline}")
        require_at_least("grace", self.grace, 0)
        require(self.api_key is None or self.api_key.strip() != "", "api_key must not be blank")
        require(
            self.is_local or self.api_key is not None,
            f"host {self.host} can be reached from other machines: set an API key "
            "(--api-key, FORETHOUGHT_API_KEY) or listen on 127.0.0.1",
        )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def is_loopback(host: str | None) -> bool:
    """Whether a host's name or address means this machine and no other."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:  # another name
        return False
