"""What a turn of the loop has to say on a connection is one write, in order, and none of it is lost."""

import asyncio
from typing import Any

from tandem.frontend.outgoing import Outgoing, Turn


class Wire(asyncio.Transport):
    """What a transport was asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Any] = []
        self.closing = False

    def write(self, data: Any) -> None:
        if "eof" in self.done:
            raise RuntimeError("Cannot call write() after write_eof()")
        self.done.append(bytes(data))

    def write_eof(self) -> None:
        self.done.append("eof")

    def close(self) -> None:
        self.closing = True
        self.done.append("closed")

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 1000


def a_turn() -> Turn:
    return Turn(asyncio.get_running_loop())


async def test_what_many_connections_say_in_a_turn_is_one_write_each_in_order() -> None:
    turn, wires = a_turn(), [Wire(), Wire()]
    outs = [Outgoing(wire, turn) for wire in wires]
    for word in (b"a", b"b", b"c"):
        for out in outs:
            out.write(word)
    assert [wire.done for wire in wires] == [[], []]
    assert outs[0].get_write_buffer_size() == 1003
    await asyncio.sleep(0)
    assert [wire.done for wire in wires] == [[b"abc"], [b"abc"]]
    outs[0].write(b"d")
    await asyncio.sleep(0)
    assert wires[0].done == [b"abc", b"d"]


async def test_closing_sends_what_is_kept_first_and_aborting_does_not() -> None:
    turn, ended, closed, cut = a_turn(), Wire(), Wire(), Wire()
    for wire, end in ((ended, Outgoing.write_eof), (closed, Outgoing.close), (cut, Outgoing.abort)):
        out = Outgoing(wire, turn)
        out.write(b"last words")
        end(out)
    await asyncio.sleep(0)
    assert ended.done == [b"last words", "eof"]
    assert closed.done == [b"last words", "closed"]
    assert cut.done == []


async def test_nothing_is_written_on_a_connection_that_was_lost_meanwhile() -> None:
    wire = Wire()
    Outgoing(wire, a_turn()).write(b"too late")
    wire.closing = True
    await asyncio.sleep(0)
    assert wire.done == []


async def test_a_long_turn_keeps_no_more_than_a_little() -> None:
    wire = Wire()
    out = Outgoing(wire, a_turn())
    for _ in range(100):
        out.write(b"x" * 1000)
    assert sum(map(len, wire.done)) >= 64_000
    assert out.get_write_buffer_size() - 1000 <= 64 * 1024


async def test_nothing_is_written_behind_the_end() -> None:
    wire = Wire()
    out = Outgoing(wire, a_turn())
    out.write(b"last words")
    out.write_eof()
    out.write(b"too late")
    out.flush()
    await asyncio.sleep(0)
    assert wire.done == [b"last words", "eof"]


async def test_a_connection_that_cannot_be_written_on_takes_no_other_with_it() -> None:
    turn, wires = a_turn(), [Wire(), Wire(), Wire()]
    outs = [Outgoing(wire, turn) for wire in wires]
    wires[1].done.append("eof")  # broken behind our back
    for word in (b"a", b"b"):
        for out in outs:
            out.write(word)
        await asyncio.sleep(0)
    assert (wires[0].done, wires[2].done) == ([b"a", b"b"], [b"a", b"b"])
    assert wires[1].closing
