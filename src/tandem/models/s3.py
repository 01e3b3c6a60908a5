"""S3 and what speaks it, OSS among it: one prefix of one bucket, as a source and as a store.

By botocore: it alone of the clients tried lets an upload in parts be found again and gone on with
(docs/decisions/0019-model-transfers.md). It makes one attempt per call; trying again is the crew's.
"""

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from tandem.core.model_folder import MANIFEST, PUSHING
from tandem.errors import ConfigError, ModelBroken, TransferFailed
from tandem.models.http_ranges import retry_after_s
from tandem.models.hub_answers import check_address
from tandem.models.manifest import Manifest, decode
from tandem.models.ports import Later, Listing, RemoteFile, Stored
from tandem.models.receiving import bound_unread
from tandem.models.s3_access import oss_access

PIECE_BYTES = 256 << 10
SEND_BYTES = 1 << 20
_MD5 = re.compile(r"[0-9a-f]{32}(-\d+)?")
_SLOW_DOWN = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "Busy"}
_LATER = {"InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted", "503", "500", "502", "504"}
_RIGHTS = {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "401"}


class Bucket:
    """`s3://bucket/prefix` or `oss://bucket/prefix`."""

    def __init__(self, name: str, bucket: str, prefix: str, *, timeout_s: float, connections: int) -> None:
        self.name = name
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._oss = name.startswith("oss:")
        self._connections = connections
        self._client = _client(self._oss, timeout_s, connections)
        self._client.meta.events.register("before-send.s3.UploadPart", self._before_send)
        self._sending = threading.local()

    # As a source

    def list(self) -> Listing:
        """What a manifest among the objects names; all of them, with what their ETags tell, where there is none."""
        objects = self.objects()
        if PUSHING in objects:
            raise ModelBroken(f"{self.name} is half a model: its push was not finished; run it again first")
        manifest = self._manifest() if MANIFEST in objects else None
        known = {file.path: file for file in manifest.files} if manifest else {}
        for path, file in known.items():
            if path not in objects or objects[path].size != file.size:
                there = objects[path].size if path in objects else "none"
                raise ModelBroken(f"{self.name}: {path} has {there} bytes, {file.size} in the manifest; push it again")
        files = tuple(
            self._remote(path, stored, known[path].sha256 if path in known else "")
            for path, stored in sorted(objects.items())
            if (path in known if manifest else path != MANIFEST and not (path.endswith("/") and not stored.size))
        )
        state = "\n".join(f"{file.path} {file.size} {file.identity}" for file in files)
        return Listing(source=self.name, revision=hashlib.sha256(state.encode()).hexdigest()[:40], files=files)

    @contextlib.contextmanager
    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[Iterator[bytes]]:
        """A range of one object, of the content that was listed."""
        with self._translated(file.path):
            answer = self._client.get_object(
                Bucket=self._bucket,
                Key=self._prefix + file.path,
                Range=f"bytes={start}-{stop - 1}",
                IfMatch=f'"{file.version}"',
            )
        with contextlib.closing(answer["Body"]) as body:
            # botocore hands its sockets to nobody; the stream below it is urllib3's, which does.
            connection = body._raw_stream.connection
            if connection is not None and connection.sock is not None:
                bound_unread(connection.sock, self._connections)
            yield self._pieces(body, file.path)

    # As a store

    def objects(self) -> Mapping[str, Stored]:
        """Sizes and ETags by path."""
        with self._translated("its list"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            found = {}
            for page in pages:
                if page.keys() <= {"ResponseMetadata"}:  # botocore finds nothing in a page that is none, and goes on
                    raise self._no_list()
                for each in page.get("Contents", ()):
                    if not {"Key", "Size", "ETag"} <= each.keys():
                        raise self._no_list()
                    found[each["Key"].removeprefix(self._prefix)] = Stored(int(each["Size"]), _plain(each["ETag"]))
            found.pop("", None)  # the folder itself, as consoles make it
            return found

    def get(self, path: str) -> bytes | None:
        """A small object."""
        with self._translated(path):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)
            except self._client.exceptions.NoSuchKey:
                return None
            with contextlib.closing(answer["Body"]) as body:
                return bytes(body.read())

    def put(self, path: str, body: bytes) -> str:
        """One object in one piece."""
        with self._translated(path):
            return _plain(self._client.put_object(Bucket=self._bucket, Key=self._prefix + path, Body=body)["ETag"])

    def delete(self, path: str) -> None:
        """Remove one object."""
        with self._translated(path):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + path)

    def uploads(self) -> Mapping[str, str]:
        """The newest open upload of each path."""
        with self._translated("its open uploads"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            found = [each for page in pages for each in page.get("Uploads", ())]
        found.sort(key=lambda each: each["Initiated"])
        return {each["Key"].removeprefix(self._prefix): str(each["UploadId"]) for each in found}

    def parts(self, path: str, upload: str) -> Mapping[int, Stored]:
        """Parts that have arrived."""
        with self._translated(path):
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=self._bucket, Key=self._prefix + path, UploadId=upload
            )
            return {
                int(each["PartNumber"]): Stored(int(each["Size"]), _plain(each["ETag"]))
                for page in pages
                for each in page.get("Parts", ())
            }

    def begin(self, path: str) -> str:
        """Begin an upload in parts."""
        with self._translated(path):
            answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._prefix + path)
            return str(answer["UploadId"])

    def put_part(self, path: str, upload: str, number: int, body: bytes, sent: Callable[[], None]) -> str:
        """One part; the store checks it against the SHA-256 that its request is signed with."""
        self._sending.told = sent
        with self._translated(path):
            answer = self._client.upload_part(
                Bucket=self._bucket, Key=self._prefix + path, UploadId=upload, PartNumber=number, Body=body
            )
            return _plain(answer["ETag"])

    def complete(self, path: str, upload: str, etags: Mapping[int, str]) -> str:
        """The parts become an object."""
        parts = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in sorted(etags.items())]
        with self._translated(path):
            answer = self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=self._prefix + path, UploadId=upload, MultipartUpload={"Parts": parts}
            )
            return _plain(answer["ETag"])

    def abort(self, path: str, upload: str) -> None:
        """Throw an upload away."""
        with self._translated(path):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._prefix + path, UploadId=upload)

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def _before_send(self, request: Any, **_: Any) -> None:
        """Once a part is signed: give it away in pieces, and tell when the last one has gone."""
        request.body = _in_pieces(request.body, self._sending.told)

    def _no_list(self) -> TransferFailed:
        variable = "OSS_ENDPOINT" if self._oss else "AWS_ENDPOINT_URL"
        return TransferFailed(
            f"{self.name}: what came is no list of a bucket; look at {variable}, and at a proxy on the way"
        )

    def _manifest(self) -> Manifest | None:
        text = self.get(MANIFEST)
        return None if text is None else decode(text, where=f"{self.name}/{MANIFEST}")

    def _remote(self, path: str, stored: Stored, sha256: str) -> RemoteFile:
        tells = not sha256 and _MD5.fullmatch(stored.etag)
        part_bytes = self._part_bytes(path, stored) if tells and "-" in stored.etag else 0
        md5 = stored.etag if tells and ("-" not in stored.etag or part_bytes) else ""
        return RemoteFile(
            path=path, size=stored.size, sha256=sha256, md5=md5, md5_part_bytes=part_bytes, version=stored.etag
        )

    def _part_bytes(self, path: str, stored: Stored) -> int:
        """Size of the parts that an object was uploaded in; 0 if the store does not tell."""
        with self._translated(path):
            head = self._client.head_object(Bucket=self._bucket, Key=self._prefix + path, PartNumber=1)
        size, count = int(head["ContentLength"]), int(stored.etag.rsplit("-", 1)[1])
        return size if size and -(-stored.size // size) == count else 0

    def _pieces(self, body: Any, path: str) -> Iterator[bytes]:
        with self._translated(path):
            while piece := body.read(PIECE_BYTES):
                yield piece

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        from botocore import exceptions
        from urllib3.exceptions import HTTPError

        try:
            yield
        except exceptions.ClientError as error:
            raise self._meaning(error.response, what) from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise ConfigError(f"{self.name} needs credentials: {_credentials(self._oss)}") from error
        except (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError) as error:
            raise Later("nothing came for a while") from error
        except exceptions.EndpointConnectionError as error:
            raise Later("nobody answers at its endpoint") from error
        except (exceptions.HTTPClientError, HTTPError, OSError) as error:
            raise Later(f"the connection broke ({type(error).__name__})") from error
        except exceptions.ParamValidationError as error:
            raise ConfigError(f"{self.name} names no bucket that could be") from error
        except exceptions.BotoCoreError as error:
            raise TransferFailed(f"{self.name}: {what}: {type(error).__name__}") from error

    def _meaning(self, response: Mapping[str, Any], what: str) -> Exception:
        code = str(response.get("Error", {}).get("Code", ""))
        about = response.get("ResponseMetadata", {})
        status = int(about.get("HTTPStatusCode", 0))
        if code in _SLOW_DOWN or code in _LATER or status == 429 or (status >= 500 and status != 501):
            asked = retry_after_s(about.get("HTTPHeaders", {}).get("retry-after"))
            return Later(f"the store answered {code or status}", retry_after_s=asked)
        if code == "NoSuchBucket":
            return TransferFailed(f"{self.name}: there is no bucket {self._bucket!r} at its endpoint")
        if code in _RIGHTS or status in (401, 403):
            return TransferFailed(f"{self.name}: no right to {what} ({code}): {_credentials(self._oss)}")
        if code in ("PreconditionFailed", "412", "InvalidRange", "416"):
            return TransferFailed(f"{self.name}: {what} has changed while it was read; run the same command again")
        if code == "NoSuchUpload":
            return TransferFailed(f"{self.name}: the upload of {what} is gone; run the same command again")
        if code in ("NoSuchKey", "404"):
            return TransferFailed(f"{self.name}: {what} is not there")
        return TransferFailed(f"{self.name}: {what}: the store answered {code or status}")


def _in_pieces(body: BinaryIO, sent: Callable[[], None]) -> Iterator[bytes]:
    while piece := body.read(SEND_BYTES):
        yield piece
    sent()


def _credentials(oss: bool) -> str:
    if oss:
        return "set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or run `ossutil config`"
    return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


def _plain(etag: str) -> str:
    """OSS writes its ETags in capitals."""
    bare = etag.strip('"')
    return bare.lower() if _MD5.fullmatch(bare.lower()) else bare


def _client(oss: bool, timeout_s: float, connections: int) -> Any:
    try:
        from botocore.exceptions import BotoCoreError
    except ModuleNotFoundError as error:
        raise ConfigError("S3 and OSS need a client: pip install 'tandem-pd[models]' (or botocore)") from error
    settings: dict[str, Any] = {
        "connect_timeout": timeout_s,
        "read_timeout": timeout_s,
        "retries": {"total_max_attempts": 1},
        "max_pool_connections": connections,
        # Its default sends bodies in aws-chunked form, which OSS and others refuse. The signature covers them.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    where = "OSS_… and ~/.ossutilconfig" if oss else "AWS_… and ~/.aws"
    try:
        return _oss_client(settings) if oss else _s3_client(settings)
    except BotoCoreError as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"the store cannot be reached as {where} say: {why}") from error
    except ValueError as error:  # an address that may hold a password
        raise ConfigError(f"the store cannot be reached as {where} say: its endpoint is no address") from error


def _oss_client(settings: dict[str, Any]) -> Any:
    from botocore.config import Config
    from botocore.session import Session

    access = oss_access(os.environ, Path.home())
    check_address("OSS_ENDPOINT", access.endpoint)
    style = "virtual" if access.virtual_hosts else "path"
    return Session().create_client(
        "s3",
        region_name=access.region,
        endpoint_url=access.endpoint,
        aws_access_key_id=access.key_id,
        aws_secret_access_key=access.secret,
        aws_session_token=access.token or None,
        config=Config(s3={"addressing_style": style, "payload_signing_enabled": True}, **settings),
    )


def _s3_client(settings: dict[str, Any]) -> Any:
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.session import Session

    for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        if address := os.environ.get(variable):
            check_address(variable, address)
    session = Session()
    region = session.get_config_variable("region") or os.environ.get("AWS_REGION") or "us-east-1"
    if session.get_credentials() is None:  # a bucket that everybody may read
        settings = {**settings, "signature_version": UNSIGNED}
    return session.create_client(
        "s3", region_name=region, config=Config(s3={"payload_signing_enabled": True}, **settings)
    )
