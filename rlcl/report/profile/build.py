"""Profile of an experiment's data as JSON and as one self-contained page."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from rlcl.config import unstructure
from rlcl.evaluation.results import Array
from rlcl.experiment import Experiment
from rlcl.report.page.build import ConfigText, render_page
from rlcl.report.page.figures import evenly_spaced
from rlcl.report.page.parts import Section
from rlcl.report.page.run_details import config_text
from rlcl.report.profile import figures
from rlcl.report.profile.arrays import SampleImages, feature_names, profile_arrays, sample_images, sample_rows
from rlcl.report.profile.environments import profile_environments
from rlcl.report.profile.shifts import energy_matrix, mean_shift, standardize
from rlcl.types import Stream

__all__ = ["Profile", "make_profile", "profile_page"]

DISTANCE_ROWS = 400  # evenly spaced rows of each experience from which distances are computed
MAX_DISTANCE_EXPERIENCES = 30  # evenly spaced


@frozen(eq=False)
class Profile:
    """Profile of the stream of an experiment.

    Args:
        facts: plain values that can be written as JSON.
        images: name and sample images of each experience whose inputs are images.
    """

    facts: dict[str, Any]
    images: tuple[tuple[str, SampleImages], ...] = ()


def make_profile(experiment: Experiment, stream: Stream, steps: int) -> Profile:
    """Compute the profile of a stream.

    Args:
        experiment: the experiment.
        stream: its stream under the first of its seeds.
        steps: env steps of random actions in each environment.
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
        facts["experiences"], rollouts = profile_environments(stream, steps)
        observations = [rollout.observations for rollout in rollouts]
        samples = [x[np.linspace(0, len(x) - 1, min(DISTANCE_ROWS, len(x))).astype(int)] for x in observations]
        names = [str(index) for index in rollouts[0].indices]
        return Profile({**facts, "distances": _distances(stream, samples, names)})
    facts["experiences"] = profile_arrays(stream)
    sources = [e.arrays for e in stream]
    indices = evenly_spaced(len(sources), MAX_DISTANCE_EXPERIENCES)
    facts["distances"] = _distances(
        stream, [sample_rows(sources[i], DISTANCE_ROWS) for i in indices], feature_names(spec), indices
    )
    images = [
        (stream[i].name, sample_images(sources[i], spec))
        for i in evenly_spaced(len(sources), figures.MAX_IMAGE_EXPERIENCES)
    ]
    return Profile(facts, tuple((name, sample) for name, sample in images if sample is not None))


def _distances(
    stream: Stream, samples: list[Array], names: list[str], indices: list[int] | None = None
) -> dict[str, Any] | None:
    """Return the energy coefficients of all pairs of experiences, and the shifts between consecutive experiences.

    Args:
        stream: the stream.
        samples: sample of each compared experience.
        names: names of the features.
        indices: indices of the compared experiences; all experiences by default.

    Returns:
        The distances; None with a single experience, with fewer than two rows, or without features.
    """
    if len(samples) < 2 or min(len(x) for x in samples) < 2 or not samples[0].shape[1]:
        return None
    experiences = list(range(len(samples))) if indices is None else indices
    standardized = standardize(samples)
    matrix = energy_matrix(standardized)
    shifts = []
    for i in range(1, len(standardized)):
        shift = mean_shift(standardized[i - 1], standardized[i])
        shifts.append(
            {
                "from": stream[experiences[i - 1]].name,
                "to": stream[experiences[i]].name,
                "energy": float(matrix[i, i - 1]),
                "mean": shift.mean,
                "greatest": shift.maximum,
                "feature": names[shift.feature],
            }
        )
    return {"experiences": [stream[i].name for i in experiences], "energy": matrix.tolist(), "shifts": shifts}


def profile_page(profile: Profile, experiment: Experiment) -> str:
    """Return the profile as an HTML page that needs no other file and no network."""
    facts = profile.facts
    of_environments = facts["kind"] == "environment"
    sections = [
        Section(
            "experiences", "Experiences", (figures.environments(facts) if of_environments else figures.sizes(facts),)
        ),
        Section("transfer", "Transfer between tasks", figures.without_none(figures.transfer(facts))),
        Section("classes", "Classes", figures.without_none(figures.classes(facts))),
        Section("samples", "Samples", figures.without_none(figures.images(profile.images))),
        Section("features", "Features", figures.without_none(figures.features(facts))),
        Section("spaces", "Spaces", figures.without_none(figures.spaces(facts))),
        Section(
            "shifts",
            "Distances between experiences",
            figures.without_none(figures.distances(facts), figures.shifts(facts)),
        ),
        Section("config", "Configuration", ()),
    ]
    count = len(facts["experiences"])
    shape = " x ".join(map(str, facts["observation_shape"])) or "not an array"
    return render_page(
        verb="rlcl profile",
        origin="the data of the experiment with its first seed",
        title=facts["name"],
        subtitle=f"{count} experience{'s' * (count > 1)}, {facts['kind']}, input shape {shape}; seed {facts['seed']}",
        statement="",
        objective_notes={},
        verdict="",
        notices=figures.notices(facts),
        tiles=[],
        sections=[section for section in sections if section.figures or section.key == "config"],
        configs=[ConfigText("config", config_text(unstructure(experiment)))],
    )
