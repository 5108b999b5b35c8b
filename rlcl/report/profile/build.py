"""An experiment's profile: as JSON, and as one self-contained page."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from rlcl.config import unstructure
from rlcl.evaluation.results import Array
from rlcl.experiment import Experiment
from rlcl.report.page.about import config_text
from rlcl.report.page.build import Config, rendered
from rlcl.report.page.figures import spread
from rlcl.report.page.parts import Section
from rlcl.report.profile import figures
from rlcl.report.profile.arrays import Pictured, feature_names, pictured, profile_arrays, sample
from rlcl.report.profile.environments import profile_environments
from rlcl.report.profile.shifts import energy_matrix, shift, standardized
from rlcl.types import Stream

__all__ = ["Profile", "make_profile", "profile_page"]

COMPARED_ROWS = 400  # of each experience, evenly spread, that distances are of
COMPARED = 30  # experiences, evenly spread


@frozen(eq=False)
class Profile:
    """What is known of an experiment's stream.

    Args:
        facts: plain values, as JSON holds them.
        pictures: of each experience whose inputs are images.
    """

    facts: dict[str, Any]
    pictures: tuple[tuple[str, Pictured], ...] = ()


def make_profile(experiment: Experiment, stream: Stream, steps: int) -> Profile:
    """Measures a stream.

    Args:
        experiment: that it is of.
        stream: under the first of its seeds.
        steps: env steps that a policy plays in each environment at random.
    """
    spec = stream.spec
    facts: dict[str, Any] = {
        "name": experiment.name,
        "hash": experiment.hash,
        "seed": experiment.seeds[0],
        "kind": spec.kind,
        "observation_shape": list(spec.observation_shape),
        "classes": list(spec.class_names) if spec.kind == "labelled" else [],
    }
    if spec.kind == "environment":
        facts["experiences"], played = profile_environments(stream, steps)
        samples = [each.observations for each in played]
        spaced = [x[np.linspace(0, len(x) - 1, min(COMPARED_ROWS, len(x))).astype(int)] for x in samples]
        names = [str(place) for place in played[0].places]
        return Profile({**facts, "distances": _distances(stream, spaced, names)})
    facts["experiences"] = profile_arrays(stream)
    sources = [e.arrays for e in stream]
    chosen = spread(len(sources), COMPARED)
    facts["distances"] = _distances(
        stream, [sample(sources[i], COMPARED_ROWS) for i in chosen], feature_names(spec), chosen
    )
    pictures = [(stream[i].name, pictured(sources[i], spec)) for i in spread(len(sources), figures.PICTURED)]
    return Profile(facts, tuple((name, found) for name, found in pictures if found is not None))


def _distances(
    stream: Stream, samples: list[Array], names: list[str], chosen: list[int] | None = None
) -> dict[str, Any] | None:
    """Energy coefficients of all pairs, and what changes from one experience to the next; None with a single one."""
    if len(samples) < 2 or min(len(x) for x in samples) < 2 or not samples[0].shape[1]:
        return None
    places = list(range(len(samples))) if chosen is None else chosen
    alike = standardized(samples)
    matrix = energy_matrix(alike)
    shifts = []
    for place in range(1, len(alike)):
        found = shift(alike[place - 1], alike[place])
        shifts.append(
            {
                "from": stream[places[place - 1]].name,
                "to": stream[places[place]].name,
                "energy": float(matrix[place, place - 1]),
                "mean": found.mean,
                "greatest": found.greatest,
                "feature": names[found.feature],
            }
        )
    return {"experiences": [stream[i].name for i in places], "energy": matrix.tolist(), "shifts": shifts}


def profile_page(profile: Profile, experiment: Experiment) -> str:
    """The page: HTML that needs no other file and no network."""
    facts = profile.facts
    of_environments = facts["kind"] == "environment"
    sections = [
        Section(
            "experiences", "Experiences", (figures.environments(facts) if of_environments else figures.sizes(facts),)
        ),
        Section("classes", "Classes", figures.some(figures.classes(facts))),
        Section("samples", "Samples", figures.some(figures.pictures(profile.pictures))),
        Section("features", "Features", figures.some(figures.features(facts))),
        Section("spaces", "Spaces", figures.some(figures.spaces(facts))),
        Section(
            "shifts", "How far experiences are apart", figures.some(figures.distances(facts), figures.shifts(facts))
        ),
        Section("config", "Configuration", ()),
    ]
    count = len(facts["experiences"])
    shape = " x ".join(map(str, facts["observation_shape"])) or "no array"
    return rendered(
        verb="rlcl profile",
        origin="the experiment's data, under its first seed",
        title=facts["name"],
        subtitle=f"{count} experience{'s' * (count > 1)}, {facts['kind']}, one input {shape}; seed {facts['seed']}",
        statement="",
        told={},
        verdict="",
        notices=figures.notices(facts),
        tiles=[],
        sections=[section for section in sections if section.figures or section.key == "config"],
        configs=[Config("config", config_text(unstructure(experiment)))],
    )
