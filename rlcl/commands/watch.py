"""``rlcl watch``: a trained policy at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rlcl.launch.watch import Episode, Policy
    from rlcl.types import Experience

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("watch")(watch)


def watch(
    run: Annotated[str, typer.Argument(help="One run: its folder, or a name as rlcl runs list has it.")],
    gif: Annotated[Path | None, typer.Option(help="Write a film there instead of opening a window.")] = None,
    episodes: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 3,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the first episode; by default those that it was evaluated on.")
    ] = None,
    experience: Annotated[str | None, typer.Option(help="Name, or number from 1; the last by default.")] = None,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="Env steps after which an episode is cut off.")] = 1000,
    every: Annotated[int, typer.Option(min=1, max=1000, help="Env steps from frame to frame of the film.")] = 2,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """Play a trained policy, greedily, and print each return.

    rlcl watch cartpole --gif cartpole.gif --experience 1

    Of a name that stands for several seeds the first is played.
    """
    from rlcl.launch.watch import load_policy
    from rlcl.tracking.runs import named_runs

    found = named_runs(run, root)[0]
    policy = load_policy(found)
    chosen = policy.experience(experience)
    first = policy.source(chosen).seed if seed is None else seed
    seeds = range(first, first + episodes)
    typer.echo(f"{found.path}  {found.state}  {chosen.name}")
    if gif is None:
        list(_told(policy.shown(chosen, seeds, steps)))
        return
    played = list(_told(policy.filmed(chosen, seeds, steps, every)))
    _write(gif, played, policy, chosen, every)


def _told(episodes: Iterator[Episode]) -> Iterator[Episode]:
    """Prints each return as its episode ends."""
    total, count = 0.0, 0
    for count, episode in enumerate(episodes, 1):
        total += episode.total
        cut = "" if episode.ended else "  (cut off)"
        typer.echo(f"episode {count}  seed {episode.seed}  return {episode.total:,.6g}{cut}")
        yield episode
    typer.echo(f"mean return {total / count:,.6g}")


def _write(gif: Path, played: Sequence[Episode], policy: Policy, experience: Experience, every: int) -> None:
    from rlcl.report.gif import write_gif
    from rlcl.tracking.folder import disk_errors

    env = policy.source(experience).make()
    rate = env.metadata.get("render_fps") or 30
    env.close()
    films = [episode.film for episode in played if episode.film is not None]
    with disk_errors(gif):
        gif.parent.mkdir(parents=True, exist_ok=True)
        captions = [f"{experience.name}, episode {i + 1}" for i in range(len(films))]
        write_gif(gif, films, captions, 1000 * every / rate)
    typer.echo(f"{gif} ({gif.stat().st_size / 1e6:.2f} MB, {sum(len(f.frames) for f in films)} frames)")
