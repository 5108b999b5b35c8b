"""Kill a server under load repeatedly: no acknowledged feedback may be lost, and the server must restart.

python benchmarks/robustness/kill.py [kills]
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path

from digits import served, started, write_bundle

from rlcl.deploy.client import Client, ClientError
from rlcl.deploy.deployment import Deployment

RESULTS = Path(__file__).parents[1] / "results" / "robustness_kill.json"
CLIENTS = 8


def load(client: Client, acknowledged: list[str], ended: threading.Event) -> None:
    """Send requests and feedback until the server has ended."""
    rng = random.Random()
    while not ended.is_set():
        try:
            ids = client.predict([[rng.uniform(0, 16) for _ in range(64)] for _ in range(rng.randrange(1, 9))])["ids"]
            acknowledged += client.feedbacks([{"id": id, "label": str(rng.randrange(10))} for id in ids])["kept"]
        except ClientError as error:
            if error.status is not None:
                raise
            return


def killed(bundle: Path, acknowledged: list[str], seconds: float) -> float:
    """Serve for some seconds under load, kill the server, and return the seconds that its start took."""
    began = time.perf_counter()
    with started(served(bundle)) as (address, process), Client(f"http://{address}", retries=0) as client:
        client.predict([[0.0] * 64])
        up, ended = time.perf_counter() - began, threading.Event()
        threads = [threading.Thread(target=load, args=(client, acknowledged, ended)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        process.kill()
        ended.set()
        for thread in threads:
            thread.join()
    return up


def main(kills: int) -> None:
    """Print the counts of acknowledged and lost feedback, and write them to ``RESULTS``."""
    rng, acknowledged = random.Random(0), []
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(Path(folder) / "digits")
        ups = [killed(bundle, acknowledged, rng.uniform(0.1, 1.5)) for _ in range(kills)]
        with sqlite3.connect(Deployment(bundle).log) as log:
            kept = {id for (id,) in log.execute("select id from feedback")}
            sound = log.execute("pragma integrity_check").fetchone()[0]
        log.close()
    lost = [id for id in acknowledged if id not in kept]
    row = {
        "kills": kills,
        "acknowledged": len(acknowledged),
        "lost": len(lost),
        "log": sound,
        "slowest_start_seconds": round(max(ups), 2),
    }
    print(row)
    RESULTS.write_text(json.dumps({"command": f"python benchmarks/robustness/kill.py {kills}", **row}, indent=2) + "\n")
    if lost or sound != "ok":
        sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
