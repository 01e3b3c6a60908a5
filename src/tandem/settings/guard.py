"""Settings of who may come in through the front door, and how the way there is protected."""

from dataclasses import dataclass

from tandem.settings.fields import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """Who may come in: keys, TLS, other sites. YAML section `Frontend`."""

    api_key: str | None = setting(None, env="TANDEM_API_KEY", secret=True)
    """One key that clients may show, which allows everything. Default: none. Without any of these three settings,
    nobody is asked for a key."""

    api_keys_file: str | None = setting(None, env="TANDEM_API_KEYS_FILE")
    """File of keys, hashed, with what each allows; `tandem keys new NAME` makes its lines. A change counts a second
    later. A file without keys lets nobody in."""

    api_keys: str | None = setting(None, env="TANDEM_API_KEYS", secret=True)
    """The text of such a file, where a file is awkward. Read once."""

    cors_origins: tuple[str, ...] = ()
    """Sites whose pages may ask from a browser, such as `https://chat.example.com`; `*` for every one. Default:
    none."""

    tls_cert: str | None = setting(None, env="TANDEM_TLS_CERT")
    """PEM file of the front door's certificate and those between it and its authority. With it, the door speaks TLS
    (1.2 and later) only. A changed file counts from the next connection on; open ones go on."""

    tls_key: str | None = setting(None, env="TANDEM_TLS_KEY")
    """PEM file of its private key, without a password."""

    tls_client_ca: str | None = setting(None, env="TANDEM_TLS_CLIENT_CA")
    """PEM file of authorities: only clients with a certificate of theirs get in. Default: no certificate is asked
    for."""

    def check(self) -> list[str]:
        """What cannot work, in words."""
        faults = ["api-key is empty: leave it out, or give one"] if self.api_key == "" else []
        if (self.tls_cert is None) != (self.tls_key is None):
            faults.append("tls-cert and tls-key belong together: give both, or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            faults.append("tls-client-ca needs tls-cert and tls-key")
        for origin in self.cors_origins:
            if origin != "*" and (not origin.startswith(("http://", "https://")) or origin.count("/") != 2):
                faults.append(f"cors-origins: {origin!r} is no origin, such as https://chat.example.com")
        return faults
