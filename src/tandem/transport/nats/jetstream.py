"""The few JetStream requests that a work queue needs, in JSON as the server defines them."""

from typing import Any

import msgspec

from tandem.errors import Unavailable
from tandem.transport.nats.connection import NatsConnection

Json = dict[str, Any]

STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014
OTHER_CONFIGURATION = 10058
NOT_ENABLED = {10039, 10076}

DEDUP_WINDOW_S = 120.0
NO_JETSTREAM = "NATS at {servers} has no JetStream: start nats-server with -js"


class JetStreamRefused(Exception):
    """The server's own answer to a request that it did not fulfil."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


def nanoseconds(seconds: float) -> int:
    """JetStream counts in these."""
    return round(seconds * 1e9)


class JetStream:
    """Requests about one stream."""

    def __init__(self, connection: NatsConnection, stream: str) -> None:
        self.connection = connection
        self.stream = stream

    async def create_stream(self, subjects: str, *, max_age_s: float) -> None:
        """A file-backed work queue stream; one that is there already is left as it is."""
        config = {
            "name": self.stream,
            "subjects": [subjects],
            "retention": "workqueue",
            "storage": "file",
            "discard": "old",
            "max_age": nanoseconds(max_age_s),
            "duplicate_window": nanoseconds(min(DEDUP_WINDOW_S, max_age_s)),
            "num_replicas": 1,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
        }
        try:
            await self._ask("STREAM.CREATE", config)
        except JetStreamRefused as refused:
            if refused.code != OTHER_CONFIGURATION:
                raise Unavailable(f"NATS does not make the stream {self.stream}: {refused}") from refused

    async def create_consumer(self, name: str, subject: str, *, ack_wait_s: float) -> None:
        """A durable pull consumer of one subject; one that is there is brought up to date."""
        config = {
            "durable_name": name,
            "filter_subject": subject,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": nanoseconds(ack_wait_s),
            "max_deliver": -1,
            "max_ack_pending": -1,
            "max_waiting": 4096,
            "replay_policy": "instant",
        }
        await self._ask("CONSUMER.DURABLE.CREATE", {"stream_name": self.stream, "config": config}, f".{name}")

    async def subjects(self) -> dict[str, int]:
        """Subjects that hold messages, with their number."""
        answer = await self._ask("STREAM.INFO", {"subjects_filter": ">"})
        return answer["state"].get("subjects") or {}

    async def consumers(self) -> dict[str, Json]:
        """Every consumer's information, by name."""
        found: dict[str, Json] = {}
        while True:
            answer = await self._ask("CONSUMER.LIST", {"offset": len(found)})
            page = answer.get("consumers") or []
            found |= {info["name"]: info for info in page}
            if not page or len(found) >= answer.get("total", 0):
                return found

    async def consumer(self, name: str) -> Json | None:
        """One consumer's information, None when there is none."""
        try:
            return await self._ask("CONSUMER.INFO", {}, f".{name}")
        except JetStreamRefused as refused:
            if refused.code in (CONSUMER_NOT_FOUND, STREAM_NOT_FOUND):
                return None
            raise

    async def delete_consumer(self, name: str) -> None:
        """Remove a consumer. Safe to repeat."""
        try:
            await self._ask("CONSUMER.DELETE", {}, f".{name}")
        except JetStreamRefused as refused:
            if refused.code not in (CONSUMER_NOT_FOUND, STREAM_NOT_FOUND):
                raise

    async def delete_message(self, seq: int) -> bool:
        """Remove a message; False when it is not there."""
        try:
            return bool((await self._ask("STREAM.MSG.DELETE", {"seq": seq, "no_erase": True})).get("success"))
        except JetStreamRefused:
            return False

    async def publish(self, subject: str, payload: bytes, message_id: str) -> int:
        """Store a message and return its place in the stream; a repeated one has the place of the first.

        Raises `LookupError` when the stream is not there.
        """
        message = await self.connection.request(subject, payload, {"Nats-Msg-Id": message_id})
        return int(self._answer(message.data)["seq"])

    def request_next(self, consumer: str) -> str:
        """The subject on which a consumer is asked for messages."""
        return f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{consumer}"

    async def _ask(self, what: str, body: Json, suffix: str = "") -> Json:
        subject = f"$JS.API.{what}.{self.stream}{suffix}"
        try:
            message = await self.connection.request(subject, msgspec.json.encode(body))
        except LookupError:
            raise Unavailable(NO_JETSTREAM.format(servers=self.connection.described)) from None
        return self._answer(message.data)

    def _answer(self, data: bytes) -> Json:
        answer: Json = msgspec.json.decode(data)
        error = answer.get("error")
        if error is None:
            return answer
        code = int(error.get("err_code", 0))
        if code in NOT_ENABLED:
            raise Unavailable(NO_JETSTREAM.format(servers=self.connection.described))
        raise JetStreamRefused(code, str(error.get("description", "no reason given")))
