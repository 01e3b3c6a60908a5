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

    def check(self) -> list[str]:
        """What cannot work, in words."""
        return ["api-key is empty: leave it out, or give one"] if self.api_key == "" else []
