"""Verb ``rlcl watch``, which shows rollouts of a trained policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rlcl.launch.trained_policy import PolicyEpisode, TrainedPolicy
    from rlcl.types import Experience

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("watch")(watch)


def watch(
    run: Annotated[str, typer.Argument(help="Folder of one run, or its name as listed by 'rlcl runs list'.")],
    gif: Annotated[Path | None, typer.Option(help="Write a GIF file instead of opening a window.")] = None,
    episodes: Annotated[int, typer.Option(min=1, max=100, help="Number of episodes.")] = 3,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Seed of the first episode; each further episode uses the next seed. The default is the first seed of "
            "the evaluation.",
        ),
    ] = None,
    experience: Annotated[
        str | None, typer.Option(help="Name of an experience, or its number from 1; the last one by default.")
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, max=100_000, help="Env steps after which an episode is truncated.")
    ] = 1000,
    every: Annotated[int, typer.Option(min=1, max=1000, help="Env steps per frame of the GIF.")] = 2,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """Roll out a trained policy with greedy actions, and print the return of each episode.

    Example:
        rlcl watch cartpole --gif cartpole.gif --experience 1

    If a name matches several seeds, the first one is used.
    """
    from rlcl.launch.trained_policy import load_policy
    from rlcl.tracking.runs import named_runs

    stored = named_runs(run, root)[0]
    policy = load_policy(stored)
    task = policy.experience(experience)
    first_seed = policy.source(task).seed if seed is None else seed
    seeds = range(first_seed, first_seed + episodes)
    typer.echo(f"{stored.path}  {stored.state}  {task.name}")
    if gif is None:
        list(_printed(policy.display_episodes(task, seeds, steps)))
        return
    recorded = list(_printed(policy.record_episodes(task, seeds, steps, every)))
    _write(gif, recorded, policy, task, every)


def _printed(episodes: Iterator[PolicyEpisode]) -> Iterator[PolicyEpisode]:
    """Yield the episodes; print the return of each one, and their mean."""
    total, count = 0.0, 0
    for count, episode in enumerate(episodes, 1):
        total += episode.total_return
        mark = "" if episode.finished else "  (truncated)"
        typer.echo(f"episode {count}  seed {episode.seed}  return {episode.total_return:,.6g}{mark}")
        yield episode
    typer.echo(f"mean return {total / count:,.6g}")


def _write(
    gif: Path, episodes: Sequence[PolicyEpisode], policy: TrainedPolicy, experience: Experience, every: int
) -> None:
    from rlcl.report.gif import write_gif
    from rlcl.tracking.folder import disk_errors

    env = policy.source(experience).make()
    rate = env.metadata.get("render_fps") or 30
    env.close()
    videos = [episode.video for episode in episodes if episode.video is not None]
    with disk_errors(gif):
        gif.parent.mkdir(parents=True, exist_ok=True)
        captions = [f"{experience.name}, episode {i + 1}" for i in range(len(videos))]
        write_gif(gif, videos, captions, 1000 * every / rate)
    typer.echo(f"{gif} ({gif.stat().st_size / 1e6:.2f} MB, {sum(len(v.frames) for v in videos)} frames)")
