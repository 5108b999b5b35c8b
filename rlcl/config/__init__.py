"""Experiment configs: conversion between YAML and frozen attrs classes; each error names its key path."""

from rlcl.config.aliases import Alias, resolve_aliases
from rlcl.config.components import Component, Setting, build, describe, options_class, settings, unstructure
from rlcl.config.defaults import without_defaults
from rlcl.config.descriptions import descriptions
from rlcl.config.faults import Fault, Faults, key_path, parse_key_path
from rlcl.config.files import (
    Document,
    find_file,
    merge,
    override,
    packaged_folder,
    put,
    read_document,
    resolve_extends,
    shipped_experiments,
)
from rlcl.config.protocols import check_component, component_mismatch
from rlcl.config.rules import Kind, Rule, kind_of, option
from rlcl.config.schema import json_schema
from rlcl.config.shared_parts import sharing_parts
from rlcl.config.structuring import component, read, structure

__all__ = [
    "Alias",
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
    "component_mismatch",
    "describe",
    "descriptions",
    "find_file",
    "json_schema",
    "key_path",
    "kind_of",
    "merge",
    "option",
    "options_class",
    "override",
    "packaged_folder",
    "parse_key_path",
    "put",
    "read",
    "read_document",
    "resolve_aliases",
    "resolve_extends",
    "settings",
    "sharing_parts",
    "shipped_experiments",
    "structure",
    "unstructure",
    "without_defaults",
]
