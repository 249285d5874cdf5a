"""Command-line options made from the settings' own dataclasses: one default, in one place."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from forethought.config import EngineConfig, SearchConfig
from forethought.presets import PRESETS, preset_named

Command = TypeVar("Command", bound=Callable[..., Any])
Config = TypeVar("Config")

HELP = {
    "task": "What kind of question it is: math, code or general.",
    "tree_width": "N: thoughts wanted per open path and step.",
    "beam_width": "B: paths kept open, and finished paths wanted.",
    "max_depth": "Most steps of a path.",
    "search": "A beam, or Monte Carlo tree search.",
    "num_paths": "Paths that MCTS walks.",
    "policy": "By what rule drafts are accepted; 'never' lets the target write everything.",
    "threshold": "Least score of an accepted draft, for --policy fixed.",
    "draft_share": "Chance of acceptance (random), or the draft's part of the thoughts (share).",
    "min_agreement": "Draft only if the draft agrees with itself so often; 0: do not ask it.",
    "controller": "Let measured costs decide how much is drafted; off: the settings as they are.",
    "theta": "Weight of the old threshold in the moving average.",
    "theta_estimator": "What the target's scores are summed up by.",
    "estimator_pool": "Whose scores move the threshold.",
    "init_estimator": "As --theta-estimator, for the first threshold.",
    "init": "First threshold from the target's thoughts, or from the store.",
    "ucb_c": "Width of the upper confidence bound.",
    "draft_multiplier": "m: the draft writes m * N candidates per open path.",
    "refill": "Replace rejected drafts up to the beam's open places in all, or up to N per path.",
    "extra_large_thoughts": "Thoughts of the target beside the replacements, per open path.",
    "thought_tokens": "Most tokens of one thought.",
    "max_tokens": "Most sampled tokens of the run.",
    "temperature": "Sampling temperature; 0 is greedy.",
    "top_p": "Nucleus sampling; 1 is off.",
    "top_k": "Most likely tokens to draw from; 0 is off.",
    "min_p": "Least share of the likeliest token's probability; 0 is off.",
    "seed": "Fixes every draw.",
    "answer_by": "The best finished path, or a vote weighted by score.",
    "early_commits": "First steps that keep one thought, so that it is streamed at once.",
    "early_width": "Thoughts that it is the best of where the target writes; unset: --tree-width.",
    "deadline": "Seconds until the best answer so far is wanted.",
    "context_size": "Tokens of KV cache per model; 0 chooses.",
    "threads": "Threads per model; 0 is one per core.",
    "gpu_layers": "Layers on the GPU: -1 all; unset: all where the build can.",
    "split_mode": "How layers are spread over several GPUs.",
    "main_gpu": "The GPU that is used alone, or for small tensors.",
    "kv_type": "Type of the KV cache.",
}

_ENGINE_NAMES = ("context_size", "threads", "gpu_layers", "split_mode", "main_gpu", "kv_type")


def search_options(command: Command) -> Command:
    """Every setting of `SearchConfig` as an option, and `--preset`, which changes defaults."""
    texts = {field.name: HELP[field.name] for field in fields(SearchConfig)}
    preset = click.option(
        "--preset",
        type=click.Choice(tuple(PRESETS)),
        callback=_take_preset,
        expose_value=False,
        is_eager=True,
        help="A published system's settings and evaluator, as far as no option says otherwise.",
    )
    return preset(config_options(SearchConfig, texts)(command))


def engine_options(command: Command) -> Command:
    """The settings of `EngineConfig` that are a user's to choose, as options."""
    return config_options(EngineConfig, {name: HELP[name] for name in _ENGINE_NAMES})(command)


def config_options(config: type, helps: Mapping[str, str]) -> Callable[[Command], Command]:
    """The fields of a settings class that `helps` has a line for, as options."""

    def decorate(command: Command) -> Command:
        hints = get_type_hints(config)
        for field in reversed([f for f in fields(config) if f.name in helps]):
            command = _option(field, hints[field.name], helps[field.name])(command)
        return command

    return decorate


def given_options() -> dict[str, Any]:
    """The options of the running command that stand for settings, or for an evaluator (`spec`), as
    far as its user or a preset gave them."""
    context = click.get_current_context()
    is_given = {ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP}
    offered = [*(field.name for field in fields(SearchConfig)), "spec"]
    names = [name for name in offered if context.get_parameter_source(name) in is_given]
    return {name: context.params[name] for name in names}


def engine_config(options: dict[str, Any]) -> EngineConfig:
    """The placement that the options give.

    Raises:
        ConfigError: a value is out of range.
    """
    return EngineConfig(**{name: options[name] for name in _ENGINE_NAMES})


def config_from(config: type[Config], options: dict[str, Any]) -> Config:
    """A settings object of what the options give; defaults for the rest.

    Raises:
        ConfigError: a value is out of range.
    """
    names = [field.name for field in fields(cast("Any", config))]
    return config(**{name: options[name] for name in names if name in options})


def _take_preset(context: click.Context, _: click.Parameter, name: str | None) -> None:
    if name is not None:
        preset = preset_named(name)
        spec = {} if preset.evaluator is None else {"spec": preset.evaluator}
        context.default_map = {**(context.default_map or {}), **preset.settings, **spec}


def _option(field: Field[Any], hint: Any, text: str) -> Callable[[Command], Command]:
    assert field.default is not MISSING
    flag = "--context" if field.name == "context_size" else "--" + field.name.replace("_", "-")
    return click.option(
        f"{flag}/--no-{flag[2:]}" if hint is bool else flag,
        field.name,
        type=None if hint is bool else _click_type(hint),
        default=field.default,
        show_default=field.default is not None,
        help=text,
    )


def _click_type(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint))
    return get_args(hint) if get_origin(hint) is tuple else hint
