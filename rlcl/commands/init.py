"""Verb ``rlcl init``, which writes a commented example experiment."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["TEMPLATE", "add_to"]

TEMPLATE = """\
# An experiment. Check it with: rlcl check {file}     Run it with: rlcl run {file}
# Change any value on the command line: rlcl run {file} learner.optimizer.lr=3e-4 'seeds=[0,1]'
name: "{name}"

objective:                        # purpose of the experiment, and its conditions of success
  statement: Keep recognising all ten digits while they arrive two at a time.
  success: ["accuracy.average >= 0.85", "forgetting.chaudhry <= 0.10"]  # or accuracy[2] >= 0.8 (interval)
  constraints: {{minutes: 5}}       # per seed; memory_mib, parameters, latency_ms

seeds: [0, 1, 2]                  # one run each; another seed adds a run and repeats none

stream:                           # rlcl list stream
  type: class_incremental         # single, joint, task_incremental, permuted, environments, ...
  data: {{type: digits}}            # rlcl list data; or your own: path/to/file.py:Class
  experiences: 5
  visibility: {{task_ids: hidden, boundaries: announced}}

encoder: {{type: standardize}}      # rlcl list encoder; a list is applied in order

learner:                          # rlcl list learner
  type: classifier
  network: {{type: mlp, hidden: [256, 256]}}
  optimizer: {{type: adam, lr: 1e-3}}
  batch_size: 32
  methods:                        # rlcl list method
    - {{type: rehearsal, capacity: 200, batch_size: 64}}

budget: {{epochs: 10}}              # of each experience: epochs, updates or samples (env_steps for environments)

evaluation:
  every: experience               # or end, or an interval such as {{updates: 100}}
  on: all                         # or seen, or current
"""


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("init")(init)


def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("experiment.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented example experiment."""
    from rlcl.errors import RlclError

    if file.exists() and not force:
        raise RlclError(f"{file} exists already; choose another name, or use --force to replace it")
    try:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).lstrip("._-") or "experiment"
        file.write_text(TEMPLATE.format(file=shlex.quote(str(file)), name=name))
    except OSError as error:
        raise RlclError(f"cannot write {file}: {error.strerror}") from error
    typer.echo(f"wrote {file}; next: rlcl check {file}")
