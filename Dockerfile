# hwr with the published weights and SClite; serves the page of hwr serve: docs/how-to/image.md
ARG BASE=python:3.11-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE} AS build
RUN python -m venv /uv && /uv/bin/pip install --no-cache-dir "uv<1"
RUN python -m venv /opt/hwr
ENV VIRTUAL_ENV=/opt/hwr UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1
WORKDIR /src
# Versions and hashes are those of the lock file, whose development tools are left out.
COPY pyproject.toml requirements.lock ./
RUN /uv/bin/uv pip install --constraints requirements.lock --requirements pyproject.toml --extra pdf --extra heic --extra postgres
COPY . .
RUN /uv/bin/uv pip install --build-constraints requirements.lock --no-deps .

# hadolint ignore=DL3006
FROM ${BASE}
# sctk is SClite; MXNet links to the others.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 libquadmath0 libstdc++6 sctk \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home hwr \
    && install --directory --owner hwr --group hwr /data
COPY --from=build /opt/hwr /opt/hwr
ENV PATH=/opt/hwr/bin:$PATH
USER 1000:1000
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
ENTRYPOINT ["hwr"]
# Without HWR_TOKEN it refuses to start, because it listens to all of the container's network.
CMD ["serve", "pages", "host=0.0.0.0"]
