"""`dvq-ray init | sweep | compare | status | rerun | analyse`, or `python -m dvq_ray ...`: imports what is named."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

import click

from dvq_ray.cli.terminal import Command
from dvq_ray.process.garbage import no_garbage_collection

COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("dvq_ray.cli.init", "Write a commented sweep file to begin with."),
    "sweep": ("dvq_ray.cli.sweep", "Run the cells of a sweep file that its store does not hold yet."),
    "compare": ("dvq_ray.cli.compare", "Compare quantizers of the rows of a file at equal bits."),
    "status": ("dvq_ray.cli.status", "Say how the sweep of a store is doing."),
    "rerun": ("dvq_ray.cli.rerun", "Run one stored cell again and compare."),
    "analyse": ("analysis.__main__", "Make the figures, tables, claims and report of a store."),
}
"""By name: the module whose `main` is the command, and what `--help` says of it."""


def command(name: str) -> click.Command:
    """One of the commands, imported now."""
    module, _ = COMMANDS[name]
    # In a checkout the analysis is beside this package, in a wheel inside of it.
    if module.startswith("analysis.") and importlib.util.find_spec("dvq_ray.analysis"):
        module = f"dvq_ray.{module}"
    with no_garbage_collection(freeze=True):  # it takes a tenth of the time of imports
        found: click.Command = importlib.import_module(module).main
    return found


class _Group(Command, click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="dvq_ray")
def main(**_: Any) -> None:
    """Sweeps of vector quantizers, from a YAML file to figures."""


if __name__ == "__main__":
    main(prog_name="python -m dvq_ray")
