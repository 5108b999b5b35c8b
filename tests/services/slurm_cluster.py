"""A real Slurm with one node on this machine, for tests: its own munged, slurmctld and slurmd, on free ports."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import define, field

__all__ = ["SlurmCluster", "is_installed", "until"]

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=10
KillWait=10
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def is_installed() -> bool:
    """Whether Slurm and munge are installed, and may be started: that needs root."""
    return os.geteuid() == 0 and all(map(shutil.which, PROGRAMS))


def until(holds: Callable[[], object], seconds: float = 120, what: str = "") -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what or holds
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


@define
class SlurmCluster:
    """A Slurm with the partitions ``low``, which is preempted and requeued, and ``high``.

    Args:
        folder: for its files; its path must be short, since it contains a socket.
    """

    folder: Path
    _munged: subprocess.Popen[bytes] | None = field(init=False, default=None)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to find this Slurm."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        text = CONFIG.format(
            host=socket.gethostname(),
            ports=_free_ports(2),
            user="root",
            folder=self.folder,
            cpus=os.cpu_count(),
            memory=1000,
        )
        (self.folder / "slurm.conf").write_text(text)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {
            "socket": "munge.socket",
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "munge.seed",
        }
        options = [f"--{option}={self.folder / name}" for option, name in files.items()]
        self._munged = subprocess.Popen(["munged", "--foreground", "--force", f"--key-file={key}", *options])
        until((self.folder / "munge.socket").exists, 20, "munged does not start")
        self.run("slurmctld")
        self.start_node()

    def start_node(self) -> None:
        """Start the daemon of the node, and wait until it accepts jobs."""
        self.run("slurmd")
        until(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T"), 60, "the node does not start")

    def kill_node(self) -> None:
        """Kill the daemon of the node; the processes of its jobs remain, as after a failure of the network."""
        os.kill(self._pid("slurmd"), signal.SIGKILL)

    def run(self, *command: str) -> str:
        """Run a command of Slurm, and return its output."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert 0 == done.returncode, f"{command}: {done.stderr}"
        return done.stdout

    def queue(self, states: str = "PENDING,RUNNING,COMPLETING") -> list[str]:
        """Return the ids of the jobs in some states."""
        return self.run("squeue", "--noheader", "--array", "--format=%i", f"--states={states}").split()

    def start_requeued(self, seconds: int = 0) -> None:
        """Let requeued jobs start at once or in some seconds, which Slurm delays by two minutes."""
        for job in self.queue("PENDING"):
            self.run(
                "scontrol", "update", f"JobId={job}", f"StartTime=now+{seconds}seconds" if seconds else "StartTime=now"
            )

    def stop(self) -> None:
        for job in self.queue():
            self.run("scancel", job)
        for name in ("slurmd", "slurmctld"):
            os.kill(self._pid(name), signal.SIGTERM)
        if self._munged is not None:
            self._munged.terminate()
            self._munged.wait(20)

    def _pid(self, name: str) -> int:
        return int((self.folder / f"{name}.pid").read_text())
