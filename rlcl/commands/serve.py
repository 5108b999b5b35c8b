"""Verb ``rlcl serve``, which serves a bundle over HTTP."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("serve")(serve)


def serve(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder that rlcl export wrote.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; any address other than localhost requires a token.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 selects a free one.")] = 8000,
    live: Annotated[
        Path | None,
        typer.Option(
            help="Folder that contains alias.json (the name of the deployed bundle), the log of requests and the "
            "candidates. The default is BUNDLE.live."
        ),
    ] = None,
    log: Annotated[
        bool, typer.Option(help="Log requests, answers and feedback; without the log, feedback is disabled.")
    ] = (True),
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File that contains the token that clients must send. Without this option, the token is the value of "
            "the environment variable RLCL_TOKEN; if it is not set, no token is required."
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Accept requests from other machines without a token.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of ONNX Runtime.")] = 1,
    max_batch: Annotated[int, typer.Option(min=1, help="Maximum rows per call of the model.")] = 128,
    max_wait: Annotated[
        float,
        typer.Option(
            min=0,
            help="Milliseconds to wait for further requests before a batch is passed to the model; with 0, a batch "
            "contains only the requests that are already in the queue.",
        ),
    ] = 0.0,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Maximum number of waiting requests; others receive status 503.")
    ] = 1024,
    max_body: Annotated[
        int, typer.Option(min=1, help="Maximum bytes of a request; larger ones receive status 413.")
    ] = 4 << 20,
    max_rows: Annotated[
        int, typer.Option(min=1, help="Maximum inputs of a request; larger ones receive status 422.")
    ] = 1024,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            help="Time limit in seconds for receiving the body of a request; the same limit applies to computing the "
            "response.",
        ),
    ] = 10.0,
    drain: Annotated[float, typer.Option(min=1, help="Seconds to finish pending requests at shutdown.")] = 10.0,
) -> None:
    """Serve a bundle's model over HTTP until it is stopped (SIGTERM, Ctrl-C).

    Examples:
        rlcl serve bundles/digits
        rlcl serve bundles/digits --port 0 --token-file token.txt

    Endpoints: POST /predict (/act for a policy), POST /feedback, GET /health, /ready, /metrics, /signature, /docs.
    rlcl promote and rlcl rollback switch the deployed bundle without losing a request.
    """
    from rlcl.deploy.deployment import Deployment
    from rlcl.deploy.serving.settings import ServerSettings, read_token
    from rlcl.errors import UnsupportedError

    settings = ServerSettings(
        host=host,
        port=port,
        token=read_token(token_file, no_token),
        open=no_token,
        log=log,
        threads=threads,
        max_batch=max_batch,
        max_wait=max_wait / 1000,
        max_queue=max_queue,
        max_body=max_body,
        max_rows=max_rows,
        timeout=timeout,
        drain=drain,
    )
    try:
        from rlcl.deploy.serving.server import listen, serve
        from rlcl.deploy.serving.service import Service
    except ImportError as error:
        raise UnsupportedError(f"serving needs {error.name}; install it with pip install 'rlcl[serve]'") from error
    deployment = Deployment(bundle) if live is None else Deployment(bundle, live)
    message = (
        "another server (process {holder}) writes the log in {folder}; stop it, or use another folder with --live, "
        "or --no-log"
    )
    # The lock comes before the port: the error names the other server, and two servers never write one log.
    with deployment.hold_lock("serve.lock.json", message) if log else nullcontext(), listen(settings) as listening:
        service = Service(deployment, settings)
        address, number = listening.getsockname()[:2]
        host_part = f"[{address}]" if ":" in address else address
        line = f"serving {bundle} ({service.loaded.digest[:12]}) on http://{host_part}:{number}"
        if not serve(service, listening, lambda: typer.echo(line)):
            raise typer.Exit(1)
