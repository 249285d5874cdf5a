"""`forethought serve`: the pair and its graphs behind OpenAI's protocol."""

from __future__ import annotations

import logging
from typing import Any

import click

from forethought.cli.opening import PAIR, Opened, open_models, pair_options
from forethought.cli.options import config_from, config_options
from forethought.engine.completer import ModelCompleter
from forethought.replies import Completer, Replier
from forethought.serving import ServerConfig

HELP = {
    "host": "Address to listen on; one that others can reach needs a key.",
    "port": "Port to listen on; 0 takes any that is free.",
    "max_running": "Replies written at once.",
    "max_waiting": "Replies that may wait for their turn.",
    "max_choices": "Replies that one request may ask for.",
    "max_tokens": "Most tokens of a reply.",
    "max_body_bytes": "Most bytes of a request.",
    "deadline": "Seconds that a request may take, waiting included.",
    "grace": "Seconds that replies have to end after SIGTERM.",
}


@click.command()
@config_options(ServerConfig, HELP)
@click.option(
    "--api-key",
    envvar="FORETHOUGHT_API_KEY",
    show_envvar=True,
    help="What clients must send; the environment keeps it from other users' eyes.",
)
@pair_options
def serve(**options: Any) -> None:
    """Answer OpenAI clients with the pair."""
    config = config_from(ServerConfig, options)
    # the libraries are named, where they are missing, before any model is opened
    from forethought.serving import app, run  # noqa: PLC0415 - they come with the extra server

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    with open_models(PAIR, options | {"task": "math"}) as opened:
        run.serve(app.Server(served(opened), config))


def served(opened: Opened) -> list[Replier | Completer]:
    """What answers, each under its own name: both models as they are."""
    return [ModelCompleter(model) for model in opened.models.values()]
