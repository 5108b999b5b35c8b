"""Asks the project itself whether a config is allowed, in processes that live on from question to question."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from ruamel.yaml import YAML

__all__ = ["Answer", "Asker", "write_yaml"]

SECONDS = 90.0  # for one answer
LIVES = 250  # questions to one process, which then gives way to a fresh one


@frozen
class Answer:
    """What became of a question.

    Args:
        allowed: whether the config would run.
        message: what was said where it is refused.
        clear: whether that is a message for people, and no traceback.
    """

    allowed: bool
    message: str = ""
    clear: bool = True


def write_yaml(config: Mapping[str, Any], path: Path) -> Path:
    """Writes a config as a person would."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    with path.open("w") as file:
        yaml.dump(config, file)
    return path


def built(config: Mapping[str, Any]) -> Answer:
    """Builds all that a run is made of, evaluates and makes a first update, as ``rlcl check`` does."""
    from rlcl.experiment import experiment_from
    from rlcl.launch.baselines import check_baselines
    from rlcl.launch.build import make_stream, make_trainer

    try:
        experiment = experiment_from(config)
        stream = make_stream(experiment, experiment.seeds[0])
        check_baselines(experiment, experiment.seeds[0], len(stream.evaluated))
        trainer = make_trainer(experiment, experiment.seeds[0], stream)
        for _ in trainer.events():
            if trainer.learner.position.step:
                break
    except Exception as error:
        return refusal(error)
    return Answer(True)


def checked(config: Mapping[str, Any]) -> Answer:
    """What ``rlcl check`` says of a config that is refused: one message and an exit status."""
    from rlcl.commands import main

    told = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        file = write_yaml(config, Path(folder) / "combination.yaml")
        try:
            with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
                main(["check", str(file)])
        except SystemExit as ended:
            text = told.getvalue()
            errors = [line for line in text.splitlines() if line.startswith("rlcl: ")]  # remarks may come before
            return Answer(not ended.code, text, len(errors) == 1 and "Traceback" not in text)
        except BaseException:
            return Answer(False, traceback.format_exc(), clear=False)
    return Answer(True)


def refusal(error: Exception) -> Answer:
    """A mistake of the user's, or a fault of the project's."""
    from rlcl.error_origin import user_error
    from rlcl.errors import Problem, RlclError

    known = error if isinstance(error, RlclError | Problem) else user_error(error)
    if known is not None:
        return Answer(False, str(known))
    return Answer(False, "".join(traceback.format_exception(error)), clear=False)


QUESTIONS = {"build": built, "check": checked}


def answer_all(connection: Connection) -> None:
    """The life of a process: questions in, answers out."""
    warnings.simplefilter("ignore")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    parent = os.getppid()
    while True:
        if not connection.poll(1.0):  # its end alone says nothing: processes forked later hold it open
            if os.getppid() != parent:
                os._exit(0)
            continue
        try:
            kind, config = connection.recv()
        except EOFError:
            os._exit(0)
        connection.send(QUESTIONS[kind](config))


@define
class _One:
    """A process that answers."""

    asked: int = 0
    process: Any = None
    connection: Any = None

    def start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=answer_all, args=(theirs,), daemon=False)
        self.process.start()
        theirs.close()
        self.asked = 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
        self.process = None


@define
class Asker:
    """Puts questions to several processes at once.

    Args:
        workers: how many.
    """

    workers: int = 2
    _ones: list[_One] = field(init=False, factory=list)

    def ask(self, kind: str, configs: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """The answer to each of some configs, in their order."""
        self._ones = self._ones or [_One() for _ in range(self.workers)]
        answers: dict[int, Answer] = {}
        waiting, busy = list(enumerate(configs))[::-1], {}
        while waiting or busy:
            for one in self._ones:
                if waiting and id(one) not in busy:
                    index, config = waiting.pop()
                    if one.process is None or one.asked >= LIVES:
                        one.stop()
                        one.start()
                    one.connection.send((kind, config))
                    one.asked += 1
                    busy[id(one)] = (one, index)
            ready = wait([one.connection for one, _ in busy.values()], SECONDS)
            for one, index in list(busy.values()):
                if ready and one.connection not in ready:
                    continue
                answers[index] = self._received(one)
                del busy[id(one)]
        return [answers[index] for index in range(len(configs))]

    def _received(self, one: _One) -> Answer:
        try:
            if one.connection.poll(0):
                found: Answer = one.connection.recv()
                return found
            message = f"no answer after {SECONDS:.0f} s"
        except EOFError:
            message = "the process died"
        one.stop()
        return Answer(False, message, clear=False)

    def close(self) -> None:
        """Ends the processes."""
        for one in self._ones:
            one.stop()
