"""Settings: the one place that reads the operator's environment (prefix ``TRAINWRIGHT_``)."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from fastapi import Depends, Request
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.kernel.oidc_settings import OidcSettings
from app.kernel.secret_files import with_password

RouteClass = Literal["read", "write", "submit", "score", "script", "sign-in"]
CONTAINER_FOLDER = "/trainwright/node"
"""The folder of a node inside its container."""
_LOG_END_BYTES = 1024


class Settings(OidcSettings, BaseSettings):
    """What an operator may set; every field is ``TRAINWRIGHT_<NAME>`` in the environment.

    Lists and tables are written as JSON, e.g. ``TRAINWRIGHT_FETCH_ALLOW='["127.0.0.1:8000"]'``.
    """

    # A complaint about one setting must not show the others: passwords are among them.
    model_config = SettingsConfigDict(
        env_prefix="TRAINWRIGHT_",
        extra="ignore",
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    data_dir: Path = Field(default_factory=lambda: Path.home() / ".trainwright")
    host: str = "127.0.0.1"
    port: int = 8470
    public_url: str = ""
    """Address under which nodes and clients reach the API; empty: made of host and port."""
    allowed_hosts: list[str] = ["127.0.0.1", "localhost", "[::1]"]
    """Values of the Host header that are answered (guards against DNS rebinding)."""
    trusted_proxies: str = ""
    """Proxies whose X-Forwarded-Proto, -For and -Prefix are believed: addresses and networks with
    commas; ``*``: all; empty: none."""
    database_url: SecretStr = SecretStr("")
    database_pool_size: int = 10
    broker_url: SecretStr = SecretStr("")
    database_password_file: Path | None = None
    """File with the password for `database_url`, which then names none itself."""
    broker_password_file: Path | None = None
    """File with the password for `broker_url`, which then names none itself."""
    signing_key_file: Path | None = None
    """File with the key that tokens are signed with; empty: one is made in the data folder."""
    encryption_keys_file: Path | None = None
    """File with the keys that secrets are encrypted with, one a line, the newest last; empty: one
    is made in the data folder."""

    fetch_allow: list[str] = []
    """Hosts, host:port pairs or CIDRs that dataset fetches may reach though they are private."""
    fetch_max_bytes: int = 100 * 1024**3
    fetch_timeout_seconds: float = 3600.0
    fetch_idle_timeout_seconds: float = 30.0

    python_search_paths: list[Path] = []
    """Further interpreters, or folders of interpreters, that environments may use."""
    wheels_dir: Path | None = None
    """Where wheels that were compiled here are kept; absent: below the data folder."""
    image_keep_days: float = 30.0
    """An unused image, or a wheel that was compiled here, is removed after so many days."""
    object_store_url: str = ""
    """Bucket for all bytes: s3://bucket/prefix, az://container/prefix or gs://bucket/prefix;
    empty: the data folder alone keeps them."""
    object_store_options_file: Path | None = None
    """JSON file with the bucket's keys, region, endpoint, …; what is absent there comes from the
    environment or the machine's identity, as the cloud's own tools find it."""
    object_cache_max_bytes: int = 50 * 1024**3
    """With a bucket: so much of it stays in the data folder as well."""
    unreferenced_keep_hours: float = Field(default=24.0, ge=1.0)
    """Uploaded bytes that nothing refers to are kept for at least so many hours."""
    idempotency_keep_days: float = 30.0
    """An Idempotency-Key is remembered for at least so many days."""
    vm_sizes_file: Path | None = None
    """JSON file with sizes that replace or extend the built-in table."""
    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    """Of all prices and budgets; amounts that are written down already are not converted."""
    provider: Literal["process", "docker"] = "process"
    """Where nodes live: as processes of this machine, or as containers of an engine."""
    docker_url: str = "unix:///var/run/docker.sock"
    """Address of the Docker engine; only workers speak to it."""
    docker_engines: dict[str, str] = {}
    """Engines that nodes of runs live on, by their name in the swarm whose manager is docker_url;
    empty: that one engine, without a swarm."""
    docker_tls_folder: Path | None = None
    """ca.pem, cert.pem and key.pem for docker_engines; None: they are not guarded."""
    docker_overlay_encrypted: bool = False
    """Whether what nodes on several engines tell each other is encrypted."""
    base_images: dict[str, str] = {"default": "python:{python_version}-slim-bookworm"}
    """What images start from, by framework, GPU and Python: see docs/images.md."""
    allowed_base_images: list[str] = []
    """Patterns of images that environments may name themselves, e.g. ``company/*``; none else."""
    allow_dockerfiles: bool = False
    """Whether environments may bring a Dockerfile: whatever it says then runs in the engine."""
    base_image_check_seconds: float = 600.0
    """A base image's tag is looked up again after so long, lest it has moved."""
    conda_channel_alias: str = "https://conda.anaconda.org"
    """Where conda channels are that environments name, e.g. a mirror; for container images."""
    image_registry: str = ""
    """host:port/repository where images are pushed; empty: they stay in the engine."""
    image_registry_url: str = ""
    """The registry as workers reach it (``http://registry:5000``); empty: as the engine does."""
    build_cache_bytes: int = 20 * 1024**3
    """How large BuildKit's cache in the engine may stay after a build."""
    registry_credentials_file: Path | None = None
    """Credentials of registries, in the form of Docker's own config.json."""
    build_ca_file: Path | None = None
    """Certificates that image builds trust, e.g. a company proxy's; never part of an image."""
    docker_network: str = "bridge"
    """The engine's network that replicas of deployments are in; the API has to reach it."""
    docker_gpus: int = 0
    """How many GPUs the engine's machine has; 0: as many as the engine itself tells of."""
    node_url: str = ""
    """Address of the API as nodes reach it; empty: the public one."""
    host_check_seconds: float = 5.0
    """How often a worker looks which hosts take nodes."""
    leak_check_seconds: float = 30.0
    """How often a worker looks for nodes and networks that nobody owns."""
    leak_grace_seconds: float = 300.0
    """What nobody owns for so long is removed."""
    input_cache_bytes: int = 100 * 1024**3
    """How much of mounted inputs an engine keeps between runs; 0: inputs are downloaded."""
    input_cache_keep_days: float = 14.0
    """A kept input that no run has mounted for so long is removed."""
    node_overcommit: float = Field(default=4.0, gt=0)
    """How many times the cores and memory of this machine may be handed out to virtual nodes."""
    priority_ageing_seconds: float = Field(default=600.0, gt=0)
    """A run that has waited for so long counts as one of the next higher priority."""

    rate_limits: dict[RouteClass, str] = {}
    """How often a caller may ask, by class of routes, e.g. {"submit": "60/minute"}; those that are
    not named have the defaults of `app.auth.limits`; an empty text: as often as they like."""
    max_open_requests: int = Field(default=500, ge=1)
    """So many requests of one caller are worked on at a time, by each API process."""
    max_open_streams: int = Field(default=100, ge=1)
    """So many of them may be such that stay open: logs and events that are followed, waits."""
    max_active_runs: int = Field(default=10_000, ge=1)
    """So many runs of a workspace may be waiting or running; workspaces may have fewer."""
    max_log_stream_bytes: int = Field(default=10 * 1024**3, ge=64 * 1024)
    """A stream of the log of a run or replica that is longer ends with a line that says so."""
    max_run_log_bytes: int = Field(default=50 * 1024**3, ge=64 * 1024)
    """All streams of a run's log together; what comes beyond is not kept, and an event says so."""
    max_body_bytes: int = 8 * 1024**2
    """Largest JSON body; uploads have limits of their own."""
    max_upload_bytes: int = 50 * 1024**3
    datastore_folders: list[Path] = []
    """Folders of this machine below which datastores may lie; none: datastores are elsewhere."""
    unfinished_uploads_max: int = 1000
    """So many uploads in pieces may be under way in a workspace."""
    unfinished_uploads_per_caller: int = Field(default=500, ge=1)
    """So many of them may be of one token, or of one run."""
    unfinished_uploads_max_bytes: int = 1024**4
    """So many bytes may be announced by them together."""
    log_expiry_check_seconds: float = 3600.0
    """How often a worker looks for logs that their workspaces keep no longer."""
    log_spool_max_bytes: int = 4 * 1024**3
    """So much of its log may wait on a node's disk while it cannot be delivered."""
    host_metrics_seconds: float = 10.0
    """How often nodes measure what they use, at first; 0: never."""
    heartbeat_seconds: float = 5.0
    heartbeat_timeout_seconds: float = 30.0
    """Without a heartbeat for so long a run is NotResponding."""
    replica_silence_seconds: float = Field(default=20.0, gt=0)
    """A serving process that gives no sign of life for so long hangs, and is replaced."""
    model_captures_at_once: int = Field(default=2, ge=0)
    """So many newly registered models are loaded at a time, for their signatures and samples; 0:
    none is."""
    capture_write_seconds: float = Field(default=15.0, gt=0)
    """Captured predictions wait in memory for so long at most until they are written."""
    lost_after_seconds: float = 600.0
    """Without a heartbeat for so long, while the API was there to take it, a node is lost."""
    gang_start_timeout_seconds: float = 600.0
    """All nodes of a run must be ready within so long of its attempt, or it fails."""
    poll_seconds: float = 1.0
    """How often a worker looks for due rows that no message announced."""
    lease_seconds: float = 30.0
    worker_listen: str = Field(default="", pattern=r"^(.+:\d+)?$")
    """host:port where a worker answers /healthz, /readyz and /metrics, whoever asks; empty: no."""

    # The names of these are OpenTelemetry's own; its SDK reads the rest of them by itself.
    otlp_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Where a collector takes traces of runs, by OTLP over HTTP; empty: nobody is told."""
    otlp_traces_endpoint: str = Field(
        default="", validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    )
    """The same with the whole path."""
    is_telemetry_off: bool = Field(default=False, validation_alias="OTEL_SDK_DISABLED")

    @model_validator(mode="after")
    def _complete_addresses(self) -> Self:
        """Put the passwords that lie in files into the addresses that they are for."""
        if self.database_password_file is not None:
            self.database_url = with_password(self.database_url, self.database_password_file)
        if self.broker_password_file is not None:
            self.broker_url = with_password(self.broker_url, self.broker_password_file)
        return self

    @model_validator(mode="after")
    def _engines_have_what_they_need(self) -> Self:
        if not self.docker_engines:
            return self
        if self.provider != "docker":
            raise ValueError("DOCKER_ENGINES needs PROVIDER=docker")
        if not self.image_registry:
            raise ValueError("DOCKER_ENGINES needs IMAGE_REGISTRY: engines pull images from there")
        if not self.node_url:
            raise ValueError("DOCKER_ENGINES needs NODE_URL: the API as all engines reach it")
        if "local" in self.docker_engines:
            raise ValueError("DOCKER_ENGINES: 'local' means the engine of DOCKER_URL")
        return self

    @property
    def base_url(self) -> str:
        """The address of the API without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def traces_url(self) -> str:
        """Where traces go; empty: nowhere."""
        if self.is_telemetry_off:
            return ""
        base = self.otlp_endpoint.rstrip("/")
        return self.otlp_traces_endpoint or (f"{base}/v1/traces" if base else "")

    @property
    def answered_hosts(self) -> list[str]:
        """Values of the Host header that are answered, the one that nodes use among them."""
        of_nodes = urlsplit(self.node_url).hostname
        return [*self.allowed_hosts, *([of_nodes] if of_nodes else [])]

    @property
    def nodes_base_url(self) -> str:
        """The address of the API as nodes reach it, without a trailing slash."""
        return self.node_url.rstrip("/") or self.base_url

    @property
    def objects_dir_on_nodes(self) -> str | None:
        """Where nodes find the object store's files; None: they have them from the API."""
        return str(self.data_dir / "objects") if self.provider == "process" else None

    @property
    def serving_host(self) -> str:
        """The address that a replica's serving program listens on, on its node.

        A container has a network of its own; there, the loopback address would be nobody's.
        """
        return "127.0.0.1" if self.provider == "process" else "0.0.0.0"  # noqa: S104

    @property
    def compiled_wheels_dir(self) -> Path:
        """Where wheels that were compiled here are kept."""
        return self.wheels_dir or self.data_dir / "wheels"

    @property
    def node_log_stream_bytes(self) -> int:
        """So much of a stream a node sends; the rest is for the line that says that it ends."""
        return self.max_log_stream_bytes - _LOG_END_BYTES

    def node_folder(self, name: str) -> Path:
        """A node's folder as the node itself sees it."""
        if self.provider == "process":
            return self.data_dir / "nodes" / name
        return Path(CONTAINER_FOLDER)

    @property
    def redis_url(self) -> str:
        """The broker's address as a Redis client writes it; Celery names unix sockets otherwise."""
        return self.broker_url.get_secret_value().replace("redis+socket://", "unix://", 1)


@lru_cache
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        SystemExit: one is wrong; its message says which, and why.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SystemExit("\n".join(map(_sentence, error.errors()))) from None


def _sentence(error: ErrorDetails) -> str:
    name = "_".join(map(str, error["loc"])).upper()
    message = error["msg"].removeprefix("Value error, ")
    return f"TRAINWRIGHT_{name}: {message}" if name else f"Settings: {message}"


async def _request_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


SettingsDep = Annotated[Settings, Depends(_request_settings)]
"""The settings of the application that serves this request."""
