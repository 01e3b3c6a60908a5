"""What the planes need to know, as frozen values. Read from flags and environment in `settings/`, never here."""

from dataclasses import dataclass, field

from tandem.core.userinfo import taken_apart


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPlaneSettings:
    """Limits and pulse of the request plane; both sides of a connection need not agree on them."""

    heartbeat_interval_s: float = 2.0
    """A connection that was silent for this long is pinged. Seconds."""

    silent_beats: int = 3
    """Beats without a byte from the peer after which it is dead: 6 to 8 s by default, also when it is only stopped."""

    connect_timeout_s: float = 3.0
    """Dial and hello together. Seconds."""

    window_items: int = 256
    """Items of one stream that may be under way to a caller who does not read."""

    window_bytes: int = 1 << 20
    """The same in bytes. One larger item may pass alone."""

    max_frame_bytes: int = 64 << 20
    """Longest frame, payload included; a peer that announces a longer one is not ours."""

    max_streams: int = 65536
    """Running calls per connection; more get `Overloaded`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSettings:
    """Where etcd is and who we are there."""

    endpoints: tuple[str, ...]
    """http:// or https:// addresses; a bare host:port counts as http. Tried in order, then around.
    A user and a password in one of them move to the fields below, unless `username` is given."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    request_timeout_s: float = 3.0
    """Longest wait for one answer from one endpoint. Seconds."""

    probe_interval_s: float = 2.0
    """How often a watched store is asked whether it lives: a watch alone is silent when its peer vanishes. Seconds."""

    def __post_init__(self) -> None:
        addresses = [taken_apart(url) for url in self.endpoints]
        named = next((address for address in addresses if address.user), None)
        if named is not None and not self.username:
            object.__setattr__(self, "username", named.user)
            object.__setattr__(self, "password", named.password if self.password is None else self.password)
        object.__setattr__(self, "endpoints", tuple(address.bare for address in addresses))


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsSettings:
    """Where NATS is and who we are there. At most one way to log in is used: creds, nkey, token, user."""

    servers: tuple[str, ...] = field(repr=False)
    """nats:// or tls:// addresses, perhaps with a user and a password, or a token."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    creds_file: str | None = None
    """A `.creds` file: a JWT and the seed that proves it is ours."""
    nkey_file: str | None = None
    """A file that holds an nkey user seed (`SU…`)."""
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    request_timeout_s: float = 3.0
    """Longest wait for one answer from the server. Seconds."""

    ping_interval_s: float = 2.0
    """Beat towards the server; two missed beats are a lost connection. Seconds."""

    max_job_age_s: float = 600.0
    """A job older than this is dropped by the server. Seconds."""
