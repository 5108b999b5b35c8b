"""Command line interface; each module defines one verb."""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.models import CommandInfo

from rlcl.errors import Problem, RlclError

__all__ = ["app", "main"]


class VerbGroup(TyperGroup):
    """A group of verbs whose error messages contain the invalid value; those of Typer name only the expected type."""

    def invoke(self, ctx: Any) -> Any:
        """Invoke the verb; see :class:`typer.core.TyperGroup`."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            list_faults = getattr(error.__cause__, "errors", None)  # of pydantic, with which Typer validates values
            if callable(list_faults) and hasattr(error, "message"):
                error.message = f"{error.message}, got {list_faults()[0]['input']!r}"
            raise


app = typer.Typer(
    name="rlcl",
    cls=VerbGroup,
    help=(
        "Train supervised, unsupervised, reinforcement and continual learners with one trainer.\n\n"
        "An experiment is one YAML file. [bold]rlcl init[/] writes a commented example, [bold]rlcl check[/] validates "
        "an experiment, [bold]rlcl run[/] runs or resumes it, [bold]rlcl bench[/] runs a grid of experiments, and "
        "[bold]rlcl runs[/] lists the results."
    ),
    epilog="Start with: rlcl run quickstart",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for verb in (
    "init",
    "list",
    "check",
    "profile",
    "doctor",
    "run",
    "runs",
    "bench",
    "tune",
    "compare",
    "report",
    "watch",
    "reproduce",
    "schema",
    "export",
    "predict",
    "serve",
    "monitor",
    "update",
    "promote",
    "rollback",
    "forget",
):
    import_module(f"rlcl.commands.{verb}").add_to(app)


def _commands(group: typer.Typer) -> Iterator[CommandInfo]:
    yield from group.registered_commands
    for part in group.registered_groups:
        if part.typer_instance is not None:
            yield from _commands(part.typer_instance)


def _unwrapped(text: str) -> str:
    """Join the lines of each paragraph, which Typer would keep; indented lines stay as they are."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(p if re.search(r"^\s", p, re.MULTILINE) else p.replace("\n", " ") for p in paragraphs)


for command in _commands(app):
    command.help = _unwrapped(command.help or inspect.getdoc(command.callback) or "")


@app.callback()
def _options(context: typer.Context) -> None:
    """Do nothing; a callback makes Typer treat the verbs as subcommands."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the console script; print each error of the user as one message and exit with its status."""
    warnings.formatwarning = lambda message, *_, **__: f"rlcl: warning: {message}\n"
    try:
        app(arguments, standalone_mode=True)
    except RlclError as error:
        _fail(str(error), error.exit_status)
    except Problem as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        from rlcl.error_origin import user_error

        attributed = user_error(error)
        if attributed is None:
            raise
        _fail(str(attributed), attributed.exit_status)


def _fail(message: str, status: int) -> None:
    for line in message.splitlines():
        print(f"rlcl: {line}", file=sys.stderr)  # noqa: T201
    sys.exit(status)
