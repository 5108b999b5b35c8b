"""Layout of TensorBoard's Custom Scalars page: curves by chart."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

__all__ = ["margins", "run_layout", "seeds_layout"]


RETURN, LOSS = "train/episode_return", "train/loss"
LINES = {RETURN: r"^train/episode_return$", LOSS: r"^train/[^/]*loss$"}
OVER_SEEDS = "mean over seeds, 95 % interval"


def run_layout(measures: Sequence[str], acting: bool, probes: Sequence[str]) -> Summary:
    """Return the layout of a run: a chart of all experiences for each measure, then charts of training and of probes.

    Args:
        measures: names that the tags of the experiences' curves begin with.
        acting: whether the learner acts in an environment, so that there are episode returns.
        probes: names of the probes in the evaluation plan.
    """
    experiences = [_lines(f"{measure}: all experiences", f"^{re.escape(measure)}/") for measure in measures]
    training = [_lines(tag, pattern) for tag, pattern in LINES.items() if acting or tag != RETURN]
    probe_charts = [_lines(f"learner/{probe}", f"^learner/{re.escape(probe)}$") for probe in probes]
    return _summary(experiences, [*training, *probe_charts])


def seeds_layout(tags: Sequence[str]) -> Summary:
    """Return the layout of means with intervals: one chart for all experiences of a measure, one for each other curve.

    Args:
        tags: tags of the curves, see :func:`margins`.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for tag in tags:
        if not tag.startswith(("learner/", "train/")):
            groups[tag.partition("/")[0]].append(tag)
    experiences = [_bands(f"{measure}: {OVER_SEEDS}", members) for measure, members in groups.items()]
    others = [tag for tag in tags if tag.startswith(("learner/", "train/"))]
    return _summary(experiences, [_bands(f"{tag}: {OVER_SEEDS}", [tag]) for tag in others])


def margins(tag: str) -> tuple[str, str, str]:
    """Return the tags of a mean and of the lower and upper end of its interval."""
    return f"mean/{tag}", f"low/{tag}", f"high/{tag}"


def _lines(title: str, pattern: str) -> Any:
    from tensorboard.plugins.custom_scalar import layout_pb2

    return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[pattern]))


def _bands(title: str, tags: Sequence[str]) -> Any:
    from tensorboard.plugins.custom_scalar import layout_pb2

    chart = layout_pb2.Chart(title=title)
    for tag in tags:
        value, lower, upper = margins(tag)
        chart.margin.series.add(value=value, lower=lower, upper=upper)
    return chart


def _summary(experiences: Sequence[Any], training: Sequence[Any]) -> Summary:
    """Return a layout with the same two categories for every run.

    TensorBoard drops the charts that a later run adds to a category that the first run does not have.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata

    categories = {"experiences": experiences, "training": training}
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title=t, chart=c) for t, c in categories.items()])
    tensor = TensorProto(dtype="DT_STRING", string_val=[layout.SerializeToString()], tensor_shape=TensorShapeProto())
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME))
    return Summary(value=[Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=plugin)])
