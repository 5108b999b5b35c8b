"""The quick reader of configs reads what the whole reader reads, or says that it cannot."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from rlcl.config import shipped_experiments
from rlcl.experiment import dump, load_experiment
from rlcl.tracking.block_yaml import UnsupportedYamlError, read_block


def whole(text: str) -> object:
    return YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("path", sorted(shipped_experiments().rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_config_is_read_alike(path: object) -> None:
    text = dump(load_experiment(str(path)))
    assert whole(text) == read_block(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: -2.5\nc: 1e-05\nd: 1.0e+20\ne: null\nf: true\ng: []\nh: {}\n",
        "a:\n- 1\n- b: 2\n  c:\n  - 3\n  - d: x\nb: no\n",
        "a:\n- - 1\n  - 2\n- - 3\n",
        "a: 'it''s: # 1'\nb: ''\nc: '1'\nd: on\n",
        "a: some words that\n  go on; here, too\nb: 'quoted words\n  go on'\n",
        "a: accuracy.average >= 0.85\nb: /home/me/x.py:Net\nc: 'true'\n",
    ],
)
def test_plain_values_are_read_alike(text: str) -> None:
    assert whole(text) == read_block(text)


@pytest.mark.parametrize(
    "text",
    [
        *('a: "x"', "a: [1, 2]", "a: {b: 1}", "a: |\n  x", "a: &b 1", "a: ~", "a: !!str 1", "a: x # y", "a: x: y"),
        *("a: 0x1F", "a: 012", "a: +1", "a: 1_000", "a: .inf", "a: 2024-01-01", "a: TRUE", "a: Null", "a: 'x"),
        *("", "a:", "? a", "true: 1", "1: 2", "a: 1\n\nb: 2", "a: 1\na: 2", "- 1\nb: 2", "a: 1\n   b: 2\n c: 3"),
    ],
)
def test_what_is_not_plain_is_left_to_the_whole_reader(text: str) -> None:
    with pytest.raises(UnsupportedYamlError):
        read_block(text)
