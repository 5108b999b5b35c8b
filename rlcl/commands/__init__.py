"""The command line, one verb a file."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from rlcl.errors import Problem, RlclError

__all__ = ["app", "main"]


class Verbs(TyperGroup):
    """Verbs whose errors show the value that was given; Typer's say only what it should be."""

    def invoke(self, ctx: Any) -> Any:
        """As :class:`typer.core.TyperGroup` has it."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            faults = getattr(error.__cause__, "errors", None)  # of pydantic, by which Typer reads values
            if callable(faults) and hasattr(error, "message"):
                error.message = f"{error.message}, got {faults()[0]['input']!r}"
            raise


app = typer.Typer(
    name="rlcl",
    cls=Verbs,
    help=(
        "Supervised, unsupervised, reinforcement and continual learning through one trainer.\n\n"
        "An experiment is one YAML file; [bold]rlcl init[/] writes a commented one, [bold]rlcl check[/] says "
        "whether it will run, [bold]rlcl run[/] runs it or goes on with it, [bold]rlcl bench[/] does so with a grid of "
        "them, [bold]rlcl runs[/] shows what there is."
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
    "run",
    "runs",
    "bench",
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


@app.callback()
def _options(context: typer.Context) -> None:
    """Kept apart from the verbs, so that there are subcommands even while there is one."""


def main(arguments: list[str] | None = None) -> Any:
    """The console script: every mistake of the user's is one message and an exit status."""
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
        from rlcl.blame import blamed

        users = blamed(error)
        if users is None:
            raise
        _fail(str(users), users.exit_status)


def _fail(message: str, status: int) -> None:
    for line in message.splitlines():
        print(f"rlcl: {line}", file=sys.stderr)  # noqa: T201
    sys.exit(status)
