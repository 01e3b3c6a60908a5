"""Hugging Face: its own client lists and knows the token; ranges are read by `HttpRanges`.

`HF_ENDPOINT`, `HF_TOKEN` and the token that `hf auth login` has left are honoured, as everywhere.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from tandem.errors import ConfigError, TransferFailed
from tandem.models.http_ranges import HttpRanges, check
from tandem.models.hub_answers import check_address, check_token, listed, nowhere, understood, unreached
from tandem.models.ports import Later, Listing, RemoteFile

_ADDRESS = "HF_ENDPOINT"


class HuggingFace:
    """One repository at one revision."""

    def __init__(self, name: str, repository: str, revision: str, *, timeout_s: float, connections: int) -> None:
        if (address := os.environ.get(_ADDRESS)) is not None:
            check_address(_ADDRESS, address)  # the client reads it when it is imported
        from huggingface_hub import HfApi, get_token

        token = get_token()
        check_token("HF_TOKEN", token)
        self.name = name
        self._repository = repository
        self._revision = revision
        self._timeout_s = timeout_s
        self._api = HfApi()
        headers = {"user-agent": "tandem", **({"authorization": f"Bearer {token}"} if token else {})}
        self._ranges = HttpRanges(name, headers, timeout_s=timeout_s, connections=connections)
        self._commit = revision

    def list(self) -> Listing:
        """All files at the commit that the revision now names."""
        with understood(self.name, _ADDRESS):
            info = self._info()
            self._commit = str(info.sha or self._revision or "main")
            files = tuple(
                listed(
                    each.rfilename,
                    each.lfs.size if each.lfs else each.size,
                    sha256=each.lfs.sha256 if each.lfs else "",
                    git_blob="" if each.lfs else each.blob_id or "",
                    version=self._commit,
                )
                for each in info.siblings
            )
        return Listing(source=self.name, revision=self._commit, files=files)

    def read(self, file: RemoteFile, start: int, stop: int) -> AbstractContextManager[Iterator[bytes]]:
        """A range of one file."""
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(self._repository, file.path, revision=self._commit, endpoint=self._api.endpoint)
        return self._ranges.read(url, file.path, start, stop)

    def close(self) -> None:
        """Give connections back."""
        self._ranges.close()

    def _info(self) -> Any:
        import httpx2
        from huggingface_hub import errors

        try:
            # Not list_repo_tree: it waits for an answer without a limit.
            return self._api.model_info(
                self._repository, revision=self._revision or None, files_metadata=True, timeout=self._timeout_s
            )
        except errors.GatedRepoError as error:
            raise TransferFailed(
                f"{self.name} is gated: accept its terms on its page, and set HF_TOKEN to a token of that account"
            ) from error
        except errors.RevisionNotFoundError as error:
            raise TransferFailed(f"{self.name} has no revision {self._revision!r}") from error
        except errors.RepositoryNotFoundError as error:
            raise TransferFailed(
                f"{self.name} is not there, or is private: set HF_TOKEN to a token that may read it"
            ) from error
        except errors.HfHubHTTPError as error:
            check(error.response.status_code, error.response.headers, self.name)
            raise TransferFailed(f"{self.name} cannot be listed") from error
        except errors.OfflineModeIsEnabled as error:
            raise ConfigError("HF_HUB_OFFLINE is set: nothing can be pulled from Hugging Face") from error
        except errors.HFValidationError as error:
            raise ConfigError(f"{self.name} names no repository: hf://ORGANISATION/NAME") from error
        except httpx2.TimeoutException as error:
            raise Later("nothing came for a while") from error
        except (httpx2.TooManyRedirects, httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise nowhere(self.name, _ADDRESS) from error
        except (httpx2.ConnectError, httpx2.ProxyError) as error:
            raise Later(unreached(_ADDRESS)) from error
        except httpx2.HTTPError as error:
            raise Later(f"the connection broke ({type(error).__name__})") from error
