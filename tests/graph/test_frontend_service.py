"""The front end's life within its process."""

from tandem.graph.frontend_service import FrontendService


async def test_a_front_end_whose_start_failed_stops_without_a_fault_of_its_own() -> None:
    front = FrontendService()
    await front.stop()
    assert front.server is None
    assert front.door is None
