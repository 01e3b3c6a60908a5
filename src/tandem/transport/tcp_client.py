"""The calling end of the request plane: one connection per address, many streams on it.

Payloads that arrive are put into their stream's queue, and all that came in one read are handed over together: a
reader is woken once for them, and one that relays not at all. What was taken is credited back to the handler in
half windows.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Self

from tandem.errors import BodyTooLarge, DeadlineExceeded, InstanceLost, ProtocolMismatch, ServingError, error_from_wire
from tandem.transport.address import parse_address
from tandem.transport.frames import PROTOCOL, Cancel, Credit, End, Error, Frame, Hello, Items, NotOurs, Open
from tandem.transport.link import Link
from tandem.transport.settings import RequestPlaneSettings

log = logging.getLogger(__name__)


class TcpCallStream:
    """The answer to one call. Implements `ports.CallStream`; one reader at a time."""

    __slots__ = (
        "_end",
        "_link",
        "_stream",
        "_take",
        "_taken",
        "_taken_bytes",
        "_timer",
        "_waiter",
        "queue",
    )

    def __init__(self, link: "_ClientLink", stream: int, deadline: float | None) -> None:
        self._link = link
        self._stream = stream
        self.queue: deque[bytes] = deque()
        """Payloads that have come and that nobody has read."""
        self._waiter: asyncio.Future[None] | None = None
        self._end: BaseException | None = None
        self._take: Callable[[Sequence[bytes]], int] | None = None
        self._taken = 0
        self._taken_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        if deadline is not None:
            self._timer = link.loop.call_later(max(0.0, deadline - time.time()), self._on_deadline)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        queue = self.queue
        while not queue:
            if self._end is not None:
                raise self._end
            await self._woken()
        payload = queue.popleft()
        self._took(1, len(payload))
        return payload

    async def relay(self, take: Callable[[Sequence[bytes]], int]) -> None:
        """See `ports.CallStream.relay`."""
        if self.queue and not self._taken_by(take):
            return
        if self._end is None:
            self._take = take
            try:
                await self._woken()
            finally:
                self._take = None

    async def _woken(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("two readers of one stream")
        self._waiter = self._link.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _took(self, count: int, size: int) -> None:
        """Payloads were taken: give credit when half a window is."""
        self._taken += count
        self._taken_bytes += size
        settings = self._link.settings
        if self._taken * 2 >= settings.window_items or self._taken_bytes * 2 >= settings.window_bytes:
            if self._end is None:
                self._link.send(Credit(self._stream, self._taken, self._taken_bytes))
            self._taken = self._taken_bytes = 0

    async def aclose(self) -> None:
        """Cancel the call if it still runs. Safe to repeat."""
        self.queue.clear()
        if self._end is None:
            self._link.send(Cancel(self._stream))
            self.end(StopAsyncIteration())

    def arrived(self) -> None:
        """Hand over what has come into the queue with one read."""
        if self._take is not None:
            try:
                if self._taken_by(self._take):
                    return
            except Exception as error:  # the reader's own, so the reader gets it
                if self._waiter is not None and not self._waiter.done():
                    self._waiter.set_exception(error)
            self._take = None
        self._wake()

    def _taken_by(self, take: Callable[[Sequence[bytes]], int]) -> bool:
        """Whether `take` takes everything that waits."""
        queue = self.queue
        payloads = list(queue)
        taken = take(payloads)
        if taken == len(payloads):
            queue.clear()
        else:
            for _ in range(taken):
                queue.popleft()
        if taken:
            self._took(taken, sum(map(len, payloads[:taken])))
        return not queue

    def end(self, how: BaseException) -> None:
        """No more will come; `how` is raised once what has arrived is read."""
        if self._end is not None:
            return
        self._end = how
        self._link.streams.pop(self._stream, None)
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _on_deadline(self) -> None:
        if self._end is None:
            self._link.send(Cancel(self._stream))
            self.end(DeadlineExceeded("the request's time ran out before the answer was complete"))


class _ClientLink(Link):
    """Our connection to one address."""

    def __init__(self, address: str, settings: RequestPlaneSettings) -> None:
        super().__init__(settings, "")
        self.address = address
        self.loop = asyncio.get_running_loop()
        self.streams: dict[int, TcpCallStream] = {}
        self.greeted: asyncio.Future[Hello] = self.loop.create_future()
        self.gone = asyncio.Event()
        self._last_stream = 0
        self._fed: list[TcpCallStream] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.greet()

    def open(
        self, endpoint: str, payload: bytes, request_id: str, deadline: float | None, headers: dict[str, str]
    ) -> TcpCallStream:
        """Begin a call; its stream is filled as frames arrive."""
        self._last_stream += 1
        number = self._last_stream
        stream = TcpCallStream(self, number, deadline)
        self.streams[number] = stream
        window = self.settings
        self.send(
            Open(number, endpoint, payload, request_id, deadline, headers, window.window_items, window.window_bytes)
        )
        return stream

    def on_hello(self, hello: Hello) -> None:
        if self.greeted.done():
            return
        if hello.version == PROTOCOL:
            self.greeted.set_result(hello)
        else:
            text = f"{self.address} speaks protocol {hello.version}, ours is {PROTOCOL}"
            self.greeted.set_exception(ProtocolMismatch(text))
            self.close("protocol version")

    def on_frame(self, frame: Frame) -> None:
        kind = type(frame)
        if kind is Items:
            assert isinstance(frame, Items)
            streams = self.streams
            for number, payload in zip(frame.streams, frame.payloads, strict=False):
                # A stream that is not there was cancelled by us; what was under way is dropped.
                if (stream := streams.get(number)) is not None:
                    if not stream.queue:
                        self._fed.append(stream)
                    stream.queue.append(payload)
        elif isinstance(frame, End):
            if stream := self.streams.get(frame.stream):
                stream.end(StopAsyncIteration())
        elif isinstance(frame, Error):
            if stream := self.streams.get(frame.stream):
                error = error_from_wire(frame.code, frame.message, param=frame.param, retry_after_s=frame.retry_after_s)
                if frame.origin:
                    error.add_note(f"from instance {frame.origin}")
                stream.end(error)
        else:
            raise NotOurs(f"{kind.__name__} frame from a listener")

    def on_read(self) -> None:
        fed, self._fed = self._fed, []
        for stream in fed:
            stream.arrived()

    def on_rejected(self, reason: str) -> None:
        log.warning("requests.rejected address=%s reason=%r", self.address, reason)
        if not self.greeted.done():
            self.greeted.set_exception(ProtocolMismatch(f"{self.address} is no request plane of ours: {reason}"))

    def on_lost(self, reason: str) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(InstanceLost(f"{self.address}: {reason}"))
        self.gone.set()
        self.greeted.exception()  # seen, also when nobody waits any more
        for stream in list(self.streams.values()):
            stream.end(InstanceLost(f"{self.address}: {reason}"))


class TcpRequestClient:
    """Calls instances. Implements `ports.RequestClient`."""

    def __init__(self, settings: RequestPlaneSettings | None = None) -> None:
        self._settings = settings or RequestPlaneSettings()
        self._links: dict[str, _ClientLink] = {}
        self._dials: dict[str, asyncio.Task[_ClientLink]] = {}
        self._closed = False

    async def call(
        self,
        address: str,
        endpoint: str,
        payload: bytes,
        *,
        request_id: str = "",
        deadline: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> TcpCallStream:
        """Open a stream.

        Raises: `InstanceLost` when the address cannot be reached within the connect time-out,
        `ProtocolMismatch` when what answers there is not ours, `DeadlineExceeded`, `BodyTooLarge`.
        """
        limit = self._settings.max_frame_bytes - 4096
        if len(payload) > limit:
            raise BodyTooLarge(f"request of {len(payload)} bytes; the request plane takes {limit}")
        link = self._links.get(address)
        if link is None or link.lost is not None:
            link = await self._dialled(address, deadline)
        elif deadline is not None and deadline <= time.time():
            raise DeadlineExceeded("the request's time ran out before it was sent")
        return link.open(endpoint, payload, request_id, deadline, headers or {})

    def is_connected(self, address: str) -> bool:
        """Whether there is a live connection to `address` right now."""
        link = self._links.get(address)
        return link is not None and link.lost is None

    async def wait_lost(self, address: str) -> None:
        """Return when there is no live connection to `address`; at once when there is none now."""
        link = self._links.get(address)
        if link is not None and link.lost is None:
            await link.gone.wait()

    async def probe(self, address: str, *, timeout_s: float) -> str | None:
        """The identity that answers at `address` right now, None when nothing of ours does."""
        try:
            async with asyncio.timeout(timeout_s):
                link = self._links.get(address)
                if link is None or not await link.answers(timeout_s):
                    link = await self._dialled(address, None)
            return link.greeted.result().identity
        except (ServingError, TimeoutError):
            return None

    async def aclose(self) -> None:
        """Close every connection; open streams end with `InstanceLost`. Safe to repeat."""
        self._closed = True
        for dial in list(self._dials.values()):
            dial.cancel()
        for link in list(self._links.values()):
            link.close("closed by us", flush=True)
        self._links.clear()
        await asyncio.sleep(0)

    async def _dialled(self, address: str, deadline: float | None) -> _ClientLink:
        """A live connection. All who ask while it is being dialled share one dial, which outlives each of them."""
        if self._closed:
            raise InstanceLost(f"{address}: this client is closed")
        dial = self._dials.get(address)
        if dial is None:
            dial = asyncio.create_task(self._dial(address), name=f"dial {address}")
            self._dials[address] = dial
            dial.add_done_callback(lambda done: self._on_dialled(address, done))
        try:
            async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.time())):
                link = await asyncio.shield(dial)
        except TimeoutError:
            raise DeadlineExceeded("the request's time ran out while its instance was being dialled") from None
        except asyncio.CancelledError:
            if dial.cancelled():
                raise InstanceLost(f"{address}: this client was closed") from None
            raise
        if link.lost is not None:  # since it greeted: nobody would end a stream that is opened now
            raise InstanceLost(f"{address}: {link.lost}")
        return link

    def _on_dialled(self, address: str, dial: "asyncio.Task[_ClientLink]") -> None:
        self._dials.pop(address, None)
        if not dial.cancelled() and dial.exception() is None:
            self._links[address] = dial.result()

    async def _dial(self, address: str) -> _ClientLink:
        loop = asyncio.get_running_loop()
        where = parse_address(address)
        link = _ClientLink(address, self._settings)
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                if isinstance(where, str):
                    await loop.create_unix_connection(lambda: link, where)
                else:
                    await loop.create_connection(lambda: link, *where)
                await asyncio.shield(link.greeted)  # giving up must not cancel it: `on_lost` settles it
        except TimeoutError:
            link.close("connect time-out")
            raise InstanceLost(f"{address}: no answer within {self._settings.connect_timeout_s:g} s") from None
        except OSError as error:
            raise InstanceLost(f"{address}: {error.strerror or error}") from error
        except BaseException:
            link.close("dial given up")
            raise
        return link
