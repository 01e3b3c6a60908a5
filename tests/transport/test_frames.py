"""Frames survive any cut of the byte stream, and noise never becomes one."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.transport.frames import (
    HELLO_LIMIT,
    Cancel,
    Credit,
    End,
    Error,
    Frame,
    FrameReader,
    Hello,
    Items,
    NotOurs,
    Open,
    Ping,
    Pong,
    encode_frames,
)

FRAMES: list[Frame] = [
    Open(1, "generate", b"\x00payload", "req-1", 1.5, {"a": "b"}, 10, 20),
    Items([1, 7, 1], [b"", b"y", b"x" * 300]),
    Credit(1, 5, 500),
    Error(1, "overloaded", "full", "later", "param", 2.5, "instance"),
    End(2**40),
    Cancel(3),
    Ping(),
    Pong(),
]


@given(st.lists(st.sampled_from(FRAMES)), st.data())
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(frames: list[Frame], data: st.DataObject) -> None:
    sent = bytes(encode_frames([Hello("tandem", 1, "me"), *frames]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    reader = FrameReader(1 << 20)
    got: list[Frame] = []
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        got += reader.feed(sent[start:end])
    assert reader.hello == Hello("tandem", 1, "me")
    assert got == frames


@given(st.binary(min_size=4))
def test_noise_is_refused_or_incomplete_and_never_a_frame(noise: bytes) -> None:
    reader = FrameReader(1 << 20)
    try:
        assert reader.feed(noise) == []
    except NotOurs:
        return
    assert reader.hello is None
    assert int.from_bytes(noise[:4]) <= HELLO_LIMIT


@given(st.binary())
def test_noise_after_a_hello_raises_nothing_but_not_ours(noise: bytes) -> None:
    reader = FrameReader(1 << 20)
    reader.feed(bytes(encode_frames([Hello("tandem", 1)])))
    body = len(noise).to_bytes(4) + noise
    with contextlib.suppress(NotOurs):
        for frame in reader.feed(body):
            assert isinstance(frame, Frame)


def test_a_frame_over_the_limit_is_refused_before_it_is_stored() -> None:
    reader = FrameReader(1000)
    reader.feed(bytes(encode_frames([Hello("tandem", 1)])))
    with pytest.raises(NotOurs, match="1001 bytes announced, at most 1000"):
        reader.feed((1001).to_bytes(4))
