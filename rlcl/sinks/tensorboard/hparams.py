"""A run on the HPARAMS page: its settings at its start, its metrics at its end.

Runs of one page differ in what settings they have. Without a table of all settings, which no run knows,
TensorBoard makes the union of what each run tells, those that differ first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rlcl.tracking.runs import dotted

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

__all__ = ["run_settings", "session_end", "session_start"]


def run_settings(config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What experiments differ in, as dotted keys; what is not set is left out.

    Args:
        config: the resolved experiment as plain data.
        seed: of the run.
    """
    found = dotted({name: config[name] for name in ("stream", "encoder", "learner", "budget")})
    return {"seed": seed, **{key: value for key, value in found.items() if value is not None}}


def session_start(name: str, settings: Mapping[str, Any]) -> Summary:
    """That a run has begun.

    Args:
        name: of the run, unlike that of any other.
        settings: dotted keys to values; what is neither number, truth value nor text is shown as text.
    """
    import time

    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    info = plugin_data_pb2.SessionStartInfo(group_name=name, start_time_secs=time.time())
    for key, value in settings.items():
        if isinstance(value, bool):
            info.hparams[key].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[key].number_value = value
        else:
            info.hparams[key].string_value = str(value)
    data = plugin_data_pb2.HParamsPluginData(session_start_info=info, version=metadata.PLUGIN_DATA_VERSION)
    return _summary(metadata.SESSION_START_INFO_TAG, data)


def session_end() -> Summary:
    """That it has come to its end."""
    import time

    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    info = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info, version=metadata.PLUGIN_DATA_VERSION)
    return _summary(metadata.SESSION_END_INFO_TAG, data)


def _summary(tag: str, data: Any) -> Summary:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import metadata

    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])
