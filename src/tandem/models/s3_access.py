"""Where a bucket is and who we are there: the environment and files that each cloud's own tools read.

S3 is botocore's whole chain (`AWS_…`, `~/.aws`, roles). OSS is `OSS_…` or `ALIBABA_CLOUD_…` variables, or
ossutil's `~/.ossutilconfig`, and its S3-compatible endpoint.
"""

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tandem.errors import ConfigError

_OSS_HOST = re.compile(r"(?:s3\.)?oss-([a-z0-9-]+?)(-internal)?\.aliyuncs\.com")
_KEYS = (
    ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OssAccess:
    """How to reach OSS."""

    endpoint: str
    region: str
    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)

    @property
    def virtual_hosts(self) -> bool:
        """Buckets are named in the host, as OSS insists; not where the host is an address."""
        host = re.sub(r"^https?://", "", self.endpoint).split("/")[0].rsplit(":", 1)[0]
        return not re.fullmatch(r"[0-9.]+|\[.*\]|localhost", host)


def oss_access(environ: Mapping[str, str], home: Path) -> OssAccess:
    """Read it.

    Raises:
        ConfigError: no endpoint or no credentials, with the names of the variables.
    """
    kept = _ossutil(Path(environ.get("OSSUTIL_CONFIG_FILE") or home / ".ossutilconfig"))
    endpoint = environ.get("OSS_ENDPOINT") or kept.get("endpoint", "")
    region = environ.get("OSS_REGION") or kept.get("region", "")
    if not endpoint and region:
        endpoint = f"https://oss-{region.removeprefix('oss-')}.aliyuncs.com"
    if not endpoint:
        raise ConfigError(
            "OSS needs an endpoint: set OSS_ENDPOINT=https://oss-REGION.aliyuncs.com or OSS_REGION=REGION "
            "(-internal in the endpoint from within the cloud)"
        )
    if "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    if found := _OSS_HOST.search(endpoint):
        region = region or found[1]
        endpoint = f"https://s3.oss-{found[1]}{found[2] or ''}.aliyuncs.com"
    for id_name, secret_name, token_name in _KEYS:
        if environ.get(id_name) and environ.get(secret_name):
            return OssAccess(
                endpoint=endpoint,
                region=region or "oss",
                key_id=environ[id_name],
                secret=environ[secret_name],
                token=environ.get(token_name, ""),
            )
    if kept.get("accesskeyid") and kept.get("accesskeysecret"):
        return OssAccess(
            endpoint=endpoint,
            region=region or "oss",
            key_id=kept["accesskeyid"],
            secret=kept["accesskeysecret"],
            token=kept.get("ststoken", ""),
        )
    raise ConfigError("OSS needs credentials: set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or run `ossutil config`")


def _ossutil(path: Path) -> dict[str, str]:
    """The credentials section of ossutil's file, names in lower case; version 2 calls it `default`."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as ossutil's configuration") from error
    for section in ("Credentials", "default", "profile default"):
        if parser.has_section(section):
            return {name.replace("_", ""): value for name, value in parser[section].items()}
    return {}
