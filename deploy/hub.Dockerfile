# The hub, without the agent's code. Build it from the root of the repository:
#   docker build -f deploy/hub.Dockerfile -t arbora-hub:0.1.0 .
# It runs as user 65532 and writes only below /var/lib/arbora, so the root file system can be read-only.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/src/constraints.txt
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY pkg ./pkg
COPY hub ./hub
RUN python -m venv /opt/arbora && /opt/arbora/bin/pip install '.[hub]'

FROM python:3.11-slim
ENV PATH=/opt/arbora/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/arbora \
    ARBORA_DATA_DIR=/var/lib/arbora/hub
COPY --from=build /opt/arbora /opt/arbora
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/arbora
USER 65532:65532
WORKDIR /var/lib/arbora
# clients, join, session
EXPOSE 7443 7444 7445
ENTRYPOINT ["arbora"]
CMD ["hub", "serve", "--client-address=:7443", "--join-address=:7444", "--session-address=:7445"]
