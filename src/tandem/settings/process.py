"""Settings of the `serve` process and of the planes it connects to."""

from dataclasses import dataclass

from tandem.core.bounds import MAX_WAIT_S
from tandem.core.userinfo import shown
from tandem.settings.fields import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings:
    """The `serve` process. YAML section `Supervisor`."""

    drain_timeout_s: float = setting(30.0, env="TANDEM_DRAIN_TIMEOUT_S")
    """On SIGTERM, how long running requests may finish. Seconds; Kubernetes kills after 30 by default. A second
    signal hurries."""

    stop_timeout_s: float = 5.0
    """After draining, how long a process may take to close before it is killed. Seconds."""

    max_restarts: int = setting(5, env="TANDEM_MAX_RESTARTS")
    """Crashes of one service within `restart_window_s` after which we stop with a status other than 0. Times."""

    restart_window_s: float = 300.0
    """How far back crashes are counted. Seconds."""

    restart_delay_s: float = 0.5
    """Pause before the first restart; doubled for each crash in the window. Seconds."""

    restart_delay_max_s: float = 30.0
    """Longest pause before a restart. Seconds."""

    system_port: int = setting(9347, env="TANDEM_SYSTEM_PORT")
    """Port of /live, /ready, /metrics, /status and /trace, open from process start. The guide's pod declares 9347; if
    it is taken, a free one. 0 takes a free one."""

    system_host: str = setting("0.0.0.0", env="TANDEM_SYSTEM_HOST")
    """Address of the system port. All of them by default: probes come from outside."""

    runtime_dir: str | None = setting(None, env="TANDEM_RUNTIME_DIR")
    """Folder for sockets of this user. Default: `tandem` in XDG_RUNTIME_DIR, else `tandem-UID` in the temporary
    folder. Mode 0700."""

    auto_gpu_allocation: bool = True
    """Give each worker its own GPUs by CUDA_VISIBLE_DEVICES. DYN_DISABLE_AUTO_GPU_ALLOCATION=1 turns it off."""

    log_level: str = setting("info", env="DYN_LOG")
    """error, warning, info or debug; `-v` and `-q` move it by one."""

    def check(self) -> list[str]:
        """What cannot work, in words."""
        faults = []
        if self.drain_timeout_s < 0:
            faults.append("drain-timeout-s must not be negative")
        if not 0 <= self.system_port <= 65535:
            faults.append(f"system-port {self.system_port} is not between 0 and 65535")
        return faults


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSettings:
    """Store, bus and request plane. YAML section `Planes`; mostly set by the environment."""

    namespace: str = "dynamo"
    """Namespace of the services: the endpoint's, in the guide `dynamo`. DYNAMO_NAMESPACE does not move it."""

    name: str = setting("tandem", env="DYNAMO_NAME")
    """Name of this deployment, shown in logs and metrics."""

    deployment_namespace: str = setting("default", env="DYNAMO_NAMESPACE")
    """Namespace of the deployment (Kubernetes), shown in logs and metrics. It moves no endpoint."""

    etcd_endpoints: tuple[str, ...] = setting((), env="ETCD_ENDPOINTS", address=True)
    """URLs of etcd, comma-separated. Empty: the embedded store."""

    etcd_username: str | None = setting(None, env="ETCD_AUTH_USERNAME")
    """User of etcd."""

    etcd_password: str | None = setting(None, env="ETCD_AUTH_PASSWORD", secret=True)
    """Its password."""

    etcd_ca: str | None = setting(None, env="ETCD_AUTH_CA")
    """File with the certificate authority of etcd."""

    etcd_client_cert: str | None = setting(None, env="ETCD_AUTH_CLIENT_CERT")
    """File with our certificate."""

    etcd_client_key: str | None = setting(None, env="ETCD_AUTH_CLIENT_KEY")
    """File with its key."""

    nats_server: str | None = setting(None, env="NATS_SERVER", address=True)
    """URL of NATS, `nats://…` or `tls://…`. Unset: the embedded bus. JetStream must be on."""

    nats_username: str | None = setting(None, env="NATS_AUTH_USERNAME")
    """User of NATS."""

    nats_password: str | None = setting(None, env="NATS_AUTH_PASSWORD", secret=True)
    """Its password."""

    nats_token: str | None = setting(None, env="NATS_AUTH_TOKEN", secret=True)
    """Token instead of user and password."""

    nats_nkey: str | None = setting(None, env="NATS_AUTH_NKEY", secret=True)
    """NKey seed file instead of user and password."""

    nats_credentials: str | None = setting(None, env="NATS_AUTH_CREDENTIALS_FILE")
    """Credentials file instead of user and password."""

    hub_socket: str | None = setting(None, env="TANDEM_JOIN")
    """Where the supervisor that hosts the embedded planes listens: a Unix socket's path, or `host:port`. Default: what
    `group-file` says, else this user's socket for `namespace`; `--join` sets it."""

    group_file: str | None = setting("/etc/rbg/config.yaml", env="TANDEM_GROUP_FILE")
    """File that the RoleBasedGroup operator mounts: the group's pods. By it they meet without etcd or NATS, and find
    each other while etcd is late or away. Empty: they do not."""

    group_port: int = setting(9345, env="TANDEM_GROUP_PORT")
    """Port of the embedded planes in the pod of the group that hosts them. The guide's pod declares 9345."""

    group_token: str | None = setting(None, env="TANDEM_GROUP_TOKEN", secret=True)
    """What the pod that hosts the group's planes wants of those who join it. The operator gives it to pods, from a
    Secret of their group. Unset: whoever reaches the port is let in."""

    advertise_host: str | None = setting(None, env="TANDEM_ADVERTISE_HOST")
    """Address under which this process is called. Default: the source address of the route to the store; loopback
    with embedded planes."""

    lease_ttl_s: float = 10.0
    """Registrations vanish this long after their process died. Seconds."""

    def check(self) -> list[str]:
        """What cannot work, in words."""
        faults = []
        if self.nats_server and "://" not in self.nats_server:
            faults.append(f"NATS_SERVER {shown(self.nats_server)!r} must begin with nats:// or tls://")
        for url in self.etcd_endpoints:
            if not url or url.count("://") > 1:
                faults.append(f"ETCD_ENDPOINTS holds {shown(url)!r}, which is no URL")
        if not 0 < self.lease_ttl_s <= MAX_WAIT_S:
            faults.append(f"lease-ttl-s must be over 0 and at most {MAX_WAIT_S:g}, not {self.lease_ttl_s:g}")
        return faults
