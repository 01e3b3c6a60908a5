"""An API server in trouble: nothing is lost, and what needs a decision is told."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.operator.fake_server import FakeServer, serving

from tandem.operator.access import Access
from tandem.operator.api import Api, ApiError, url_of
from tandem.operator.cache import Cache
from tandem.operator.reflector import Reflector
from tandem.operator.types import Raw

PATH = "/api/v1/namespaces/default/services/x"
LIST = "/api/v1/services"
EXPIRED = [{"type": "ERROR", "object": {"code": 410}}]


@pytest.fixture
def fake() -> FakeServer:
    return FakeServer()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
async def api(fake: FakeServer, pauses: list[float]) -> AsyncIterator[Api]:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with serving(fake) as url, Api(Access(server=url), pause=pause) as found:
        yield found


@pytest.mark.parametrize("trouble", [(429, {}), (500, {}), (503, "not json"), "drop"])
async def test_what_passes_is_tried_again(api: Api, fake: FakeServer, pauses: list[float], trouble: object) -> None:
    fake.on(PATH, trouble, trouble, (200, {"kind": "Service"}))  # type: ignore[arg-type]
    assert await api.get("Service", "default", "x") == {"kind": "Service"}
    assert len(pauses) == 2 or trouble == "drop"  # the HTTP client itself tries a broken connection once more
    if isinstance(trouble, tuple) and trouble[0] == 429:
        assert min(pauses) >= 1  # as the server asked


@pytest.mark.parametrize("status", [400, 403, 409, 422])
async def test_a_refusal_is_told_at_once_with_the_servers_words(
    api: Api, fake: FakeServer, pauses: list[float], status: int
) -> None:
    fake.on(PATH, (status, {"reason": "Because", "message": "of that"}))
    with pytest.raises(ApiError, match="of that") as caught:
        await api.get("Service", "default", "x")
    assert (caught.value.status, caught.value.reason, pauses) == (status, "Because", [])


async def test_trouble_without_end_is_told_in_the_end(api: Api, fake: FakeServer) -> None:
    fake.on(PATH, "drop")
    with pytest.raises(ApiError) as caught:
        await api.get("Service", "default", "x")
    assert caught.value.status == 0


async def test_what_is_not_there_is_none_and_deleting_it_is_fine(api: Api) -> None:
    assert await api.get("Service", "default", "x") is None
    await api.delete({"kind": "Service", "metadata": {"name": "x", "namespace": "default"}})


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("Pod", "n", "p"), "/api/v1/namespaces/n/pods/p"),
        (("StatefulSet", None), "/apis/apps/v1/statefulsets"),
        (("RoleBasedGroup", "n"), "/apis/workloads.x-k8s.io/v1alpha1/namespaces/n/rolebasedgroups"),
    ],
)
def test_paths(arguments: tuple[str, ...], path: str) -> None:
    assert url_of(*arguments) == path


def thing(name: str, version: int) -> Raw:
    return {"metadata": {"name": name, "namespace": "default", "resourceVersion": str(version)}}


def page(*items: Raw, version: int) -> tuple[int, Raw]:
    return 200, {"apiVersion": "v1", "metadata": {"resourceVersion": str(version)}, "items": list(items)}


class TestReflector:
    """After every interruption the cache says what the server says."""

    async def run(self, api: Api, fake: FakeServer, *, until: str) -> tuple[Cache, list[tuple[str, bool]]]:
        cache, told, done = Cache(), list[tuple[str, bool]](), asyncio.Event()

        def changed(kind: str, item: Raw, gone: bool) -> None:
            told.append((item["metadata"]["name"], gone))
            if item["metadata"]["name"] == until:
                done.set()

        reflector = Reflector(api, cache, "Service", changed, absent_poll_s=0.01)
        task = asyncio.create_task(reflector.run())
        async with asyncio.timeout(10):
            await done.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return cache, told

    async def test_events_arrive_and_the_watch_goes_on_after_its_end(self, api: Api, fake: FakeServer) -> None:
        fake.on(LIST, page(thing("a", 1), version=1))
        fake.on(
            f"{LIST}?watch",
            [{"type": "ADDED", "object": thing("b", 2)}, {"type": "DELETED", "object": thing("a", 3)}],
            [{"type": "BOOKMARK", "object": thing("", 4)}],
            [{"type": "ADDED", "object": thing("end", 5)}],
        )
        cache, told = await self.run(api, fake, until="end")
        assert told == [("a", False), ("b", False), ("a", True), ("end", False)]
        assert sorted(item["metadata"]["name"] for item in cache.of_kind("Service")) == ["b", "end"]
        assert [call for call in fake.calls if call == ("GET", LIST)] == [("GET", LIST)]

    @pytest.mark.parametrize("gone", [(410, {"reason": "Expired"}), EXPIRED])
    async def test_what_went_while_the_watch_was_down_is_noticed(
        self, api: Api, fake: FakeServer, gone: object
    ) -> None:
        fake.on(LIST, page(thing("a", 1), thing("b", 1), version=1), page(thing("b", 1), thing("end", 7), version=7))
        fake.on(f"{LIST}?watch", gone, [])  # type: ignore[arg-type]
        cache, told = await self.run(api, fake, until="end")
        assert ("a", True) in told
        assert sorted(item["metadata"]["name"] for item in cache.of_kind("Service")) == ["b", "end"]

    async def test_broken_connections_lose_nothing(self, api: Api, fake: FakeServer) -> None:
        fake.on(LIST, page(thing("a", 1), version=1))
        fake.on(f"{LIST}?watch", "drop", "drop", "drop", "drop", [{"type": "ADDED", "object": thing("end", 2)}])
        cache, _ = await self.run(api, fake, until="end")
        assert sorted(item["metadata"]["name"] for item in cache.of_kind("Service")) == ["a", "end"]

    async def test_a_kind_that_is_installed_later_is_found(self, api: Api, fake: FakeServer) -> None:
        fake.on(LIST, (404, {}), (404, {}), page(thing("end", 1), version=1))
        fake.on(f"{LIST}?watch", [])
        cache, _ = await self.run(api, fake, until="end")
        assert len(cache) == 1


def test_an_older_answer_never_replaces_a_newer_one() -> None:
    cache = Cache()
    cache.put("Service", thing("a", 5))
    cache.put("Service", {**thing("a", 4), "spec": "old"})
    found = cache.get("Service", "default", "a")
    assert found is not None
    assert "spec" not in found


def test_the_end_of_an_object_leaves_another_one_of_its_name() -> None:
    """As when a PodGroup of one scheduler goes, and that of another has come."""
    cache = Cache()
    cache.put("PodGroup", {"metadata": {"name": "g", "namespace": "n", "uid": "new", "resourceVersion": "7"}})
    assert cache.drop("PodGroup", "n", "g", uid="old") is None
    assert cache.get("PodGroup", "n", "g") is not None
    assert cache.drop("PodGroup", "n", "g", uid="new") is not None
    assert cache.get("PodGroup", "n", "g") is None
