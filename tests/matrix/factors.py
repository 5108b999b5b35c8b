"""The factors of the matrix, read from the JSON schema of an experiment, and the config of a combination."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from matrix.minimal import AMOUNTS, BUDGETS, ENVIRONMENTS, FIXED, LARGE, MINIMAL, NOT_HERE, OMITTED, WITH_LARGE
from matrix.space import Combination, Factor, Needs, Space
from rlcl.config.aliases import aliases_of
from rlcl.registry import entries, find

__all__ = ["Matrix", "NeedsSettings"]

DEFAULT = "default"
SLOTS = ("network", "optimizer", "schedule", "augment", "methods")  # of a learner, filled by factors of their own
GROUPS = {"evaluation": "group.Plan", "boundary": "group.BoundaryPolicy", "visibility": "group.Visibility"}
KINDS = {
    *("data", "stream", "encoder", "learner", "network", "method", "optimizer", "schedule", "augmentation"),
    *("probe", "sink", "drift"),
}
INNER = ("method", "encoder", "network", "data", "wrapper")  # whose own options are paired with learners alone
DECIDING = ("stream", "learner", "source", "wrapper", "encoder", "network", "method")


class NeedsSettings(Exception):
    """Registered components that cannot be built without an entry in ``matrix.minimal``."""


@define
class Matrix:
    """What the schema of an experiment says that there is.

    Args:
        schema: as ``rlcl schema`` prints it.
    """

    schema: Mapping[str, Any]
    components: dict[str, dict[str, dict[str, Any]]] = field(init=False)  # settings by kind and value
    options: dict[str, dict[str, Any]] = field(init=False, factory=dict)  # setting by factor and value
    space: Space = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.components = {}
        lacking: list[str] = []
        for place, component in self.schema["$defs"].items():
            kind, _, name = place.partition(".")
            if not name or kind == "group" or place in NOT_HERE:
                continue
            for value, settings in _variants(place, name):
                filled = {"type", *settings, *SLOTS, "data", "of", "env"}
                lacking += [f"{place}: {s}" for s in component.get("required", ()) if s not in filled]
                self.components.setdefault(kind, {})[value] = {"type": name, **settings}
        if unknown := self.components.keys() - KINDS:
            raise NeedsSettings(
                f"no factor takes components of the kinds {', '.join(sorted(unknown))}; add one to "
                "tests/matrix/factors.py"
            )
        if lacking:
            raise NeedsSettings(
                "these registered components need settings that nothing gives; add them to MINIMAL in "
                f"tests/matrix/minimal.py: {', '.join(lacking)}"
            )
        self.space = Space(tuple(self._factors()))

    def properties(self, kind: str, value: str) -> Mapping[str, Any]:
        """The settings of a component, as the schema has them; not their aliases, which are the same settings."""
        name = self.components[kind][value]["type"]
        found: Mapping[str, Any] = self.schema["$defs"][f"{kind}.{name}"]["properties"]
        aliases = aliases_of(find(kind, name)) if name in entries(kind) else {}
        return {setting: described for setting, described in found.items() if setting not in aliases}

    def only(self, wanted: Mapping[str, Sequence[str]]) -> Matrix:
        """The same with some factors reduced to some values.

        Raises:
            ValueError: there is no such factor or value.
        """
        known = self.space.by_name
        for name, values in wanted.items():
            if name not in known:
                raise ValueError(f"unknown factor {name!r}; there are {', '.join(known)}")
            for value in values:
                if value not in known[name].values:
                    raise ValueError(f"unknown {name} {value!r}; there are {', '.join(known[name].values)}")
        made = copy(self)
        made.space = Space(
            tuple(
                evolve(f, values=tuple(v for v in f.values if v in wanted.get(f.name, f.values)))
                for f in self.space.factors
            )
        )
        return made

    # Factors.

    def _factors(self) -> Iterator[Factor]:
        streams, learners = self.components["stream"], self.components["learner"]
        wrappers = [s for s in streams if "of" in self.properties("stream", s)]
        of_data = frozenset(s for s in streams if "data" in self.properties("stream", s))
        of_environments = frozenset(s for s in streams if "env" in self.properties("stream", s))
        plain = tuple(s for s in streams if s not in wrappers)
        sources = {s: {"stream": of_data} for s in self.components["data"]}
        sources |= {f"env: {e}": {"stream": of_environments} for e in ENVIRONMENTS}
        yield Factor("stream", plain, deciding=True)
        yield Factor("learner", tuple(learners), deciding=True)
        yield Factor("source", tuple(sources), sources, deciding=True)
        wrapped: dict[str, Needs] = {w: {"wrapper": frozenset(wrappers)} for w in wrappers}
        yield Factor("wrapper", ("none", *wrappers), deciding=True)
        yield Factor("outer", ("none", *wrappers), wrapped)
        drifting = frozenset(s for s in plain if streams[s].get("drift"))
        drifts: dict[str, Needs] = {d: {"stream": drifting} for d in self.components["drift"]}
        yield Factor("drift", tuple(drifts), drifts)
        units = tuple(u for u in self.schema["$defs"]["group.Budget"]["properties"] if u in BUDGETS)
        yield Factor("budget", units, deciding=True)
        yield Factor("encoder", tuple(self.components["encoder"]), deciding=True)
        for kind, slot, absent in (
            ("network", "network", ()),
            ("method", "methods", ("none",)),
            ("optimizer", "optimizer", ()),
            ("schedule", "schedule", ("none",)),
            ("augmentation", "augment", (DEFAULT,)),
        ):
            having = frozenset(v for v in learners if slot in self.properties("learner", v))
            values = (*absent, *self.components[kind])
            needs: dict[str, Needs] = {v: {"learner": having} for v in values}
            if kind == "network":
                needs |= {v: {"learner": having, "budget": frozenset(units) - {"epochs"}} for v in LARGE}
            yield Factor(kind, values, needs, deciding=kind in DECIDING)
        yield Factor("probe", ("none", *self.components["probe"]))
        if "sinks" in self.schema["properties"]:
            yield Factor("sink", tuple(self.components["sink"]))
        yield from self._shared_options()
        yield from self._inner_options(wrappers)

    def _shared_options(self) -> Iterator[Factor]:
        """Options of learners, streams, evaluation, boundaries and of the experiment: paired with everything."""
        yield from self._of_components("learner", "learner", self.components["learner"], None)
        plain = [s for s in self.components["stream"] if "of" not in self.properties("stream", s)]
        yield from self._of_components("stream", "stream", plain, None)
        for name, group in GROUPS.items():
            needs: Needs = {}
            if name == "visibility":
                needs = {"stream": frozenset(s for s in plain if name in self.properties("stream", s))}
            for setting, described in self.schema["$defs"][group]["properties"].items():
                if setting in FIXED.get(name, {}):
                    continue
                if values := self._values(f"{name}.{setting}", described):
                    yield Factor(f"{name}.{setting}", values, dict.fromkeys(values, needs))
        for setting, described in self.schema["properties"].items():
            if setting not in FIXED and (values := self._values(f"experiment.{setting}", described)):
                yield Factor(f"experiment.{setting}", values)

    def _inner_options(self, wrappers: list[str]) -> Iterator[Factor]:
        """Options of methods, encoders and the like, each component's its own: paired with learners alone."""
        for kind in INNER:
            registered = {"wrapper": "stream"}.get(kind, kind)
            names = wrappers if kind == "wrapper" else list(self.components[registered])
            for name in names:
                decider = {"data": "source"}.get(kind, kind)
                yield from self._of_components(decider, registered, [name], frozenset({"learner"}), f"{kind} {name}")

    def _of_components(
        self, decider: str, kind: str, names: Any, paired: frozenset[str] | None, prefix: str = ""
    ) -> Iterator[Factor]:
        """A factor for each setting that has several values, over all components that have it."""
        found: dict[str, dict[str, frozenset[str]]] = {}
        for name in names:
            for setting, described in self.properties(kind, name).items():
                place, general = f"{prefix or kind}.{setting}", f"{kind}.{setting}"
                if setting in self.components[kind][name] and general not in AMOUNTS:
                    continue
                for value in self._values(place, described, general):
                    having = found.setdefault(place, {})
                    having[value] = having.get(value, frozenset()) | {name}
        for place, values in found.items():
            needs = {value: {decider: names} for value, names in values.items()}
            yield Factor(place, tuple(values), needs, paired)

    def _values(self, place: str, described: Mapping[str, Any], general: str = "") -> tuple[str, ...]:
        """The values of a setting; none where there is but its default."""
        general = general or place
        if general in OMITTED:
            return ()
        default = described.get("default")
        found: list[Any] = list(AMOUNTS.get(general, ()))
        for arm in described.get("anyOf", [described]):
            found += arm.get("enum", ())
            found += [True, False] if arm.get("type") == "boolean" else []
            if arm.get("$ref", "").startswith("#/$defs/group.") and default is None and "default" in described:
                group = self.schema["$defs"][arm["$ref"].removeprefix("#/$defs/")]
                found += [{}] if "required" not in group else []
        others = {json.dumps(v) if isinstance(v, dict) else str(v): v for v in found if v != default}
        others = {label: v for label, v in others.items() if f"{general}={label}" not in OMITTED}
        if not others:
            return ()
        self.options.setdefault(place, {}).update(others)
        return (DEFAULT, *others)

    # Configs.

    def config(self, row: Combination, folder: Path, name: str = "combination") -> dict[str, Any]:
        """The experiment that a combination stands for.

        Args:
            row: a value of each factor that applies.
            folder: of the materials.
            name: of the experiment.
        """
        learner = {**self.components["learner"][row["learner"]], **self._chosen("learner", row)}
        for kind, slot in (("network", "network"), ("optimizer", "optimizer"), ("schedule", "schedule")):
            if row.get(kind, "none") != "none":
                learner[slot] = self._component(kind, row[kind], row)
        if row.get("method", "none") != "none":
            learner["methods"] = [self._component("method", row["method"], row)]
        if row.get("augmentation", DEFAULT) != DEFAULT:
            learner["augment"] = [self._component("augmentation", row["augmentation"], row)]
        evaluation = {**FIXED["evaluation"], **self._chosen("evaluation", row)}
        if row["probe"] != "none":
            evaluation["probes"] = [self._component("probe", row["probe"], row)]
        made = {
            "name": name,
            **{key: value for key, value in FIXED.items() if key != "evaluation" and key in self.schema["properties"]},
            **(WITH_LARGE if row.get("network") in LARGE else {}),
            **self._chosen("experiment", row),
            "stream": self._stream(row),
            "encoder": self._component("encoder", row["encoder"], row),
            "learner": learner,
            "budget": {row["budget"]: BUDGETS[row["budget"]]},
            "evaluation": evaluation,
        }
        if "sink" in row:  # TensorBoard is what the pictures are for
            made["sinks"] = [self._component("sink", name, row) for name in {"tensorboard": 1, row["sink"]: 1}]
        if boundary := self._chosen("boundary", row):
            made["boundary"] = boundary
        places = {"{folder}": str(folder), "{worlds}": str(Path(__file__).with_name("worlds.py"))}
        return _placed(made, places)  # type: ignore[no-any-return]

    def _stream(self, row: Combination) -> dict[str, Any]:
        stream = {**self.components["stream"][row["stream"]], **self._chosen("stream", row)}
        source = row.get("source", "")
        if source.startswith("env: "):
            stream |= ENVIRONMENTS[source.removeprefix("env: ")]
        elif source:
            stream["data"] = self._component("data", source, row)
        if visibility := self._chosen("visibility", row):
            stream["visibility"] = visibility
        if "drift" in row:
            function = self._component("drift", row["drift"], row)
            stream["drift"] = [{**drift, "function": function} for drift in stream["drift"]]
        for place in ("wrapper", "outer"):
            if row.get(place, "none") != "none":
                inner = self._chosen(f"wrapper {row[place]}", row) if place == "wrapper" else {}
                stream = {**self.components["stream"][row[place]], **inner, "of": stream}
        return stream

    def _component(self, kind: str, value: str, row: Combination) -> dict[str, Any]:
        return {**self.components[kind][value], **self._chosen(f"{kind} {value}", row)}

    def _chosen(self, prefix: str, row: Combination) -> dict[str, Any]:
        """The options of a place that are not left at their defaults."""
        found = {}
        for factor, value in row.items():
            place, _, setting = factor.rpartition(".")
            if place == prefix and value != DEFAULT and factor in self.options:
                found[setting] = self.options[factor][value]
        return found


def _variants(place: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    entry = MINIMAL.get(place, {})
    several = bool(entry) and all(isinstance(v, Mapping) for v in entry.values()) and "type" not in entry
    if not several:
        yield name, dict(entry)
        return
    for variant, settings in entry.items():
        yield f"{name} {variant}".strip(), dict(settings)


def _placed(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _placed(item, places) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_placed(item, places) for item in value]
    if isinstance(value, str):
        for sign, path in places.items():
            value = value.replace(sign, path)
    return value
