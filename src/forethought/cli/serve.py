"""`forethought serve`: the pair and its graphs behind OpenAI's protocol."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import click

from forethought.chat import PlainReplier
from forethought.cli.graphs import Chosen, build, chosen, fitted_options
from forethought.cli.opening import PAIR, Opened, gamma_option, open_models, pair_options
from forethought.cli.options import config_from, config_options
from forethought.config import require
from forethought.evaluators.registry import DEFAULT_EVALUATOR, Role
from forethought.graph_replier import GraphReplier
from forethought.graphs import GRAPHS
from forethought.prompts import MATH
from forethought.serving import ServerConfig
from forethought.stores import ThresholdStore, default_store

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
@click.option(
    "--graph",
    "graphs",
    type=click.Choice(tuple(GRAPHS)),
    multiple=True,
    default=("spec-search",),
    show_default=True,
    help="A graph to serve beside both models, under its own name. Repeatable.",
)
@click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="A setting of the graphs, by its name, e.g. task=general. Repeatable.",
)
@click.option(
    "--evaluator", "spec", default=DEFAULT_EVALUATOR, show_default=True, help="evaluators list"
)
@fitted_options
@gamma_option
@pair_options
def serve(**options: Any) -> None:
    """Answer OpenAI clients with the pair, model by model and by graphs of both."""
    config = config_from(ServerConfig, options)
    # the libraries are named, where they are missing, before any model is opened
    from forethought.serving import app, run  # noqa: PLC0415 - they come with the extra server

    choices = [
        chosen(options | {"graph": name}, given=GRAPHS[name].in_conversation)
        for name in options["graphs"]
    ]
    tasks = {choice.config.task for choice in choices} or {MATH.name}
    require(len(tasks) == 1, f"the graphs are for one task, not {', '.join(sorted(tasks))}")
    with_states = set[Role]().union(*(choice.with_states for choice in choices))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    models = open_models(PAIR, options | {"task": tasks.pop()}, with_states=with_states)
    with models as opened, default_store() as store:
        repliers = served(opened, choices, store, gamma=options["gamma"])
        run.serve(app.Server(repliers, config))


def served(
    opened: Opened, choices: Sequence[Chosen], store: ThresholdStore | None, *, gamma: str = "0"
) -> list[PlainReplier | GraphReplier]:
    """What answers, each under its own name: both models as they are, and the graphs, whose calls
    and JSON the target writes."""
    plain = {role: PlainReplier(model) for role, model in opened.models.items()}
    graphs: list[PlainReplier | GraphReplier] = []
    for choice in choices:
        built, name = build(choice, opened, store, gamma=gamma), choice.graph.name
        speaker = plain["target"]
        graphs.append(GraphReplier(name, built.graph, built.target, built.config, speaker))
    return [*plain.values(), *graphs]
