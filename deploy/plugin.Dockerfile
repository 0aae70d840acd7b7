# `arbora credential-plugin` for containers that have no Python, such as Kueue's. Build it from the root of the
# repository, once for each architecture:
#   docker build -f deploy/plugin.Dockerfile -t arbora-plugin:0.1.0 .
# It holds nothing but the tree /plugin: Python, what the plugin loads, and the loader that starts it. Mount it as an
# image volume, or let an init container copy it into a volume with `install DIR`; see docs/credential-plugin.md.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/src/constraints.txt
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY pkg ./pkg
RUN python -m venv /opt/arbora && /opt/arbora/bin/pip install .
COPY deploy/plugin ./deploy/plugin
RUN /opt/arbora/bin/python -m deploy.plugin.build /plugin

FROM scratch
COPY --from=build /plugin /plugin
USER 65532:65532
ENTRYPOINT ["/plugin/lib/ld.so", "--library-path", "/plugin/lib", "/plugin/bin/python3", "-I", "-S", "-B", "/plugin/plugin.py"]
CMD ["credential-plugin"]
