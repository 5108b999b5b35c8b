"""Experiment configs: YAML <-> frozen attrs classes; every problem names its key path."""

from rlcl.config.components import Component, Setting, build, describe, options_class, settings, unstructure
from rlcl.config.descriptions import descriptions
from rlcl.config.faults import Fault, Faults, key_path, parse_key_path
from rlcl.config.files import (
    Document,
    extended,
    find_file,
    merge,
    override,
    put,
    read_document,
    shipped_folder,
    shipped_in,
)
from rlcl.config.hashed import decisive
from rlcl.config.protocols import check_component, no_component
from rlcl.config.rules import Kind, Rule, kind_of, option
from rlcl.config.schema import json_schema
from rlcl.config.structuring import component, read, structure

__all__ = [
    "Component",
    "Document",
    "Fault",
    "Faults",
    "Kind",
    "Rule",
    "Setting",
    "build",
    "check_component",
    "component",
    "decisive",
    "describe",
    "descriptions",
    "extended",
    "find_file",
    "json_schema",
    "key_path",
    "kind_of",
    "merge",
    "no_component",
    "option",
    "options_class",
    "override",
    "parse_key_path",
    "put",
    "read",
    "read_document",
    "settings",
    "shipped_folder",
    "shipped_in",
    "structure",
    "unstructure",
]
