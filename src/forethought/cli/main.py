"""The `forethought` command: groups its subcommands, and turns every error into one line.

Exit codes: 0 answered, 1 usage, 2 environment (model, memory, build), 3 a limit was reached without
an answer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from forethought.cli.batch import batch
from forethought.cli.bench import bench
from forethought.cli.calibrate import calibrate
from forethought.cli.evaluators import evaluators
from forethought.cli.models import models
from forethought.cli.serve import serve
from forethought.cli.solve import solve
from forethought.cli.thresholds import thresholds
from forethought.cli.train import train
from forethought.cli.train_cot import draft, selector
from forethought.errors import ConfigError, ForethoughtError, SearchError
from forethought.report import versions

ANSWERED, USAGE, ENVIRONMENT, LIMIT = 0, 1, 2, 3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(versions()["forethought"], prog_name="forethought")
def forethought() -> None:
    """Speculative reasoning with a small and a large local model."""


for command in (solve, batch, serve, models, thresholds, evaluators, calibrate, train, bench):
    forethought.add_command(command)
for command in (draft, selector):
    train.add_command(command)
for group in (forethought, models, thresholds, evaluators, calibrate, train, bench):
    group.no_args_is_help = False  # a missing command is an error of one line, as any other


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors become one line on stderr."""
    try:
        code = forethought.main(args=arguments, prog_name="forethought", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        click.echo("forethought: stopped", err=True)
        return USAGE
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = context.command_path + " --help" if context else "--help"
        click.echo(f"forethought: {error.format_message()} (see {hint})", err=True)
        return USAGE
    except ForethoughtError as error:
        click.echo(f"forethought: {error}", err=True)
        return USAGE if isinstance(error, ConfigError | SearchError) else ENVIRONMENT
    return code if isinstance(code, int) else ANSWERED


def main() -> None:
    """Entry point of the `forethought` script."""
    sys.exit(run())
