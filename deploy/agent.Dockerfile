# The agent, without the hub's code. Build it from the root of the repository:
#   docker build -f deploy/agent.Dockerfile -t arbora-agent:0.1.0 .
# It runs as user 65532 and writes only below /var/lib/arbora, so the root file system can be read-only.
# It listens on nothing but what it is told to: 7446 for node agents, and a port for metrics.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/src/constraints.txt
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY pkg ./pkg
COPY agent ./agent
RUN python -m venv /opt/arbora && /opt/arbora/bin/pip install '.[agent]'

FROM python:3.11-slim
ENV PATH=/opt/arbora/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/arbora \
    XDG_DATA_HOME=/var/lib
COPY --from=build /opt/arbora /opt/arbora
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/arbora
USER 65532:65532
WORKDIR /var/lib/arbora
ENTRYPOINT ["arbora"]
CMD ["agent", "run"]
