# Serves a bundle: CPU, without torch, as a user without rights.
#
#   docker build -t rlcl-serve .
#   docker run --rm -p 127.0.0.1:8000:8000 -e RLCL_TOKEN=... \
#     -v "$PWD/bundles/digits:/bundle:ro" -v digits-live:/live rlcl-serve
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 rlcl && install -d -o rlcl -g rlcl /live
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY rlcl rlcl
COPY envs envs
COPY experiments experiments
COPY benchmarks/published benchmarks/published
COPY benchmarks/suites benchmarks/suites
# What serving needs and nothing of what training needs.
RUN pip install --no-cache-dir \
      attrs typer rich numpy jinja2 onnxruntime starlette uvicorn uvloop httptools orjson prometheus-client \
    && pip install --no-cache-dir --no-deps . \
    && rm -rf /src
WORKDIR /home/rlcl
USER rlcl
VOLUME /live
EXPOSE 8000
# The server ends by itself within --drain seconds of SIGTERM.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "from rlcl.deploy.client import Client; Client('http://127.0.0.1:8000', timeout=2, retries=0).health()"]
ENTRYPOINT ["rlcl", "serve", "/bundle", "--live", "/live", "--host", "0.0.0.0", "--port", "8000"]
