"""``rlcl serve``: a bundle behind HTTP."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("serve")(serve)


def serve(
    bundle: Annotated[Path, typer.Argument(help="The folder that rlcl export wrote.")],
    host: Annotated[str, typer.Option(help="Address to listen on; another than this machine's own needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    live: Annotated[
        Path | None, typer.Option(help="Folder of the alias, the log and the candidates; BUNDLE.live by default.")
    ] = None,
    log: Annotated[bool, typer.Option(help="Keep requests, answers and feedback; without it there is no feedback.")] = (
        True
    ),
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must send; else RLCL_TOKEN, else none.")
    ] = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="Let other machines come without a token.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Of ONNX Runtime.")] = 1,
    max_batch: Annotated[int, typer.Option(min=1, help="Rows of one run of the model.")] = 128,
    max_wait: Annotated[
        float, typer.Option(min=0, help="Milliseconds to wait for more requests before a run; 0 joins those that wait.")
    ] = 0.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Requests that may wait; more get a 503.")] = 1024,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of a request; more get a 413.")] = 4 << 20,
    max_rows: Annotated[int, typer.Option(min=1, help="Inputs of a request; more get a 422.")] = 1024,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for a request's body, and for its answer.")] = 10.0,
    drain: Annotated[float, typer.Option(min=1, help="Seconds to answer what is under way when told to end.")] = 10.0,
) -> None:
    """Serve a bundle's model until told to end (SIGTERM, Ctrl-C).

    rlcl serve bundles/digits
    rlcl serve bundles/digits --port 0 --token-file token.txt

    POST /predict (a policy: /act), POST /feedback, GET /health, /ready, /metrics, /signature, /docs.
    rlcl promote and rlcl rollback change the bundle that answers, without losing a request.
    """
    from rlcl.deploy.deployment import Deployment
    from rlcl.deploy.serving.settings import Settings, read_token
    from rlcl.errors import UnsupportedError

    settings = Settings(
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
        from rlcl.deploy.serving.running import listen, serve
        from rlcl.deploy.serving.service import Service
    except ImportError as error:
        raise UnsupportedError(f"serving needs {error.name}; install it with pip install 'rlcl[serve]'") from error
    deployment = Deployment(bundle) if live is None else Deployment(bundle, live)
    told = (
        "another server (process {holder}) writes the log in {folder}; end it, or give this one a folder of its own "
        "with --live, or --no-log"
    )
    # First of all: a port that is taken would be told of instead, and with another one both would write.
    with deployment.held("serve.lock", told) if log else nullcontext(), listen(settings) as listening:
        service = Service(deployment, settings)
        address, number = listening.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        line = f"serving {bundle} ({service.served.digest[:12]}) on http://{shown}:{number}"
        if not serve(service, listening, lambda: typer.echo(line)):
            raise typer.Exit(1)
