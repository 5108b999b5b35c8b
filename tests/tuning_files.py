"""A small tuning file for tests."""

from __future__ import annotations

from pathlib import Path

FILE = """
name: small
base:
  stream: {type: class_incremental, data: {type: digits}, experiences: 5}
  learner: {type: classifier, optimizer: {type: sgd, lr: 0.01}, methods: [{type: l2}]}
  budget: {updates: 10}
search:
  learner.optimizer.lr: {log: [1e-4, 1e-2]}
  learner.batch_size: [8, 16]
"""


def tuning_file(folder: Path, text: str = FILE) -> Path:
    (folder / "small.yaml").write_text(text)
    return folder / "small.yaml"
