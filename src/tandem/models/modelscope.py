"""ModelScope: its own client lists and knows the token; ranges are read by `HttpRanges`.

`MODELSCOPE_ENDPOINT` (or the older `MODELSCOPE_DOMAIN`), `MODELSCOPE_API_TOKEN` and the token that
`modelscope login` has left are honoured.
"""

import hashlib
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from tandem.errors import ConfigError, TransferFailed
from tandem.models.http_ranges import HttpRanges
from tandem.models.hub_answers import check_address, check_token, listed, nowhere, understood, unreached
from tandem.models.ports import Later, Listing, RemoteFile

_ADDRESSES = ("MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN")
"""The first that is set is taken."""


class ModelScope:
    """One repository at one revision."""

    def __init__(self, name: str, repository: str, revision: str, *, timeout_s: float, connections: int) -> None:
        self.name = name
        self._repository = repository
        self._revision = revision or "master"
        self._address = next((name for name in _ADDRESSES if os.environ.get(name)), _ADDRESSES[0])
        if address := os.environ.get(self._address):
            check_address(self._address, address if "://" in address else f"https://{address}")
        self._api = _api(timeout_s)
        token = self._api.legacy.token
        check_token("MODELSCOPE_API_TOKEN", token)
        headers = {"user-agent": "tandem", **({"cookie": f"m_session_id={token}"} if token else {})}
        self._ranges = HttpRanges(name, headers, timeout_s=timeout_s, connections=connections)

    def list(self) -> Listing:
        """All files of the revision, each with its SHA-256."""
        with understood(self.name, self._address):
            files = tuple(
                # The client reads a size that is missing as 0.
                listed(
                    each.path,
                    each.size if each.size or each.sha256 else None,
                    sha256=each.sha256 or "",
                    version=self._revision,
                )
                for each in self._found()
                if not each.is_dir
            )
        if not files:
            raise TransferFailed(f"{self.name} lists no files; look at its page, and at {self._address}")
        return Listing(source=self.name, revision=_fingerprint(files), files=files)

    def read(self, file: RemoteFile, start: int, stop: int) -> AbstractContextManager[Iterator[bytes]]:
        """A range of one file."""
        url = self._api.legacy.get_download_url(self._repository, "model", file.path, self._revision)
        return self._ranges.read(url, file.path, start, stop)

    def close(self) -> None:
        """Give connections back."""
        self._ranges.close()

    def _found(self) -> Any:
        import requests
        from modelscope_hub import errors
        from requests.exceptions import ChunkedEncodingError, ContentDecodingError, InvalidSchema, InvalidURL

        try:
            found = self._api.list_repo_files(self._repository, "model", revision=self._revision)
        except errors.RateLimitError as error:
            raise Later("the server answered 429", retry_after_s=getattr(error, "retry_after", None)) from error
        except errors.ServerError as error:
            raise Later(f"the server answered {error.status_code or 'with errors'}") from error
        except errors.RequestTimeoutError as error:
            raise Later("nothing came for a while") from error
        except errors.NetworkError as error:
            raise Later(unreached(self._address)) from error
        except errors.InvalidParameter as error:
            raise ConfigError(f"{self.name} names no repository: modelscope://ORGANISATION/NAME") from error
        except (errors.AuthenticationError, errors.PermissionDeniedError) as error:
            raise TransferFailed(
                f"{self.name} may not be read: set MODELSCOPE_API_TOKEN to a token that may read it"
            ) from error
        except errors.NotExistError as error:
            raise TransferFailed(f"{self.name} is not there, or has no revision {self._revision!r}") from error
        except errors.HubError as error:
            raise TransferFailed(f"{self.name} cannot be listed ({type(error).__name__})") from error
        except (requests.TooManyRedirects, InvalidURL, InvalidSchema) as error:
            raise nowhere(self.name, self._address) from error
        except (requests.ConnectionError, requests.Timeout, ChunkedEncodingError, ContentDecodingError) as error:
            raise Later(f"the connection broke ({type(error).__name__})") from error
        if getattr(self._api.legacy._read_state, "listing_incomplete", False):  # where the client's own pull looks
            raise TransferFailed(
                f"{self.name} has more files in one folder than ModelScope lists; pull it from elsewhere"
            )
        return found


def _fingerprint(files: tuple[RemoteFile, ...]) -> str:
    """Names a state of the repository, which the listing does not; empty if a file comes without a hash."""
    if not all(file.sha256 for file in files):
        return ""
    return hashlib.sha256("\n".join(sorted(f"{file.path} {file.sha256}" for file in files)).encode()).hexdigest()[:40]


def _api(timeout_s: float) -> Any:
    # It reads its limits when it is imported. One attempt: waiting and trying again is the crew's.
    os.environ.setdefault("MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS", "1")
    os.environ.setdefault("MODELSCOPE_REPO_TREE_PAGE_TIMEOUT_SECONDS", str(max(1, round(timeout_s))))
    try:
        from modelscope_hub import HubApi, HubConfig
    except ModuleNotFoundError as error:
        raise ConfigError(
            "pulling from ModelScope needs its client: pip install 'tandem-pd[models]' (or modelscope-hub)"
        ) from error
    logging.getLogger("modelscope_hub").setLevel(logging.ERROR)  # its retries would be told twice
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MODELSCOPE_DOMAIN, which the older client documents
        return HubApi(HubConfig())
