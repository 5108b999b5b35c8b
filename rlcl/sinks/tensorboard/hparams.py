"""Entries of a run on TensorBoard's HPARAMS page: settings at its start, metrics at its end.

The runs on one page may have different settings. No run knows the settings of the others, so no table of all settings
is written. TensorBoard then shows the union of the runs' settings, those that differ first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

__all__ = ["session_end", "session_start"]


def session_start(name: str, settings: Mapping[str, Any]) -> Summary:
    """Return the summary of a run's start.

    Args:
        name: name of the run, different from all others.
        settings: settings by dotted key; a value other than a number, a bool or a text is shown as text.
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
    """Return the summary of a run's successful end."""
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
