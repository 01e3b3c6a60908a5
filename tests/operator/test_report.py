"""What `tandem rbg` prints."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.operator.builders import group, pod, role, spec

from tandem.cli import rbg
from tandem.errors import ConfigError
from tandem.operator.report import age, diff_text, find_revision, history_text, revision_text, status_text
from tandem.operator.revisions import next_revision, rolled_back
from tandem.operator.types import Raw

NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
METADATA: Raw = {"namespace": "default", "labels": {}, "name": ""}


def test_status() -> None:
    counts = [("processor", 1, 1), ("prefill", 2, 1)]
    waiting = {"type": "Ready", "status": "False", "reason": "RoleNotReady", "message": "role prefill: 1/2 ready"}
    item = {
        "metadata": {
            "name": "dynamo-pd",
            "namespace": "default",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"roles": [{"name": name, "replicas": n} for name, n, _ in counts]},
        "status": {
            "observedGeneration": 1,
            "conditions": [waiting],
            "roleStatuses": [{"name": name, "replicas": n, "readyReplicas": r} for name, n, r in counts],
        },
    }
    assert status_text(item, NOW).splitlines() == [
        "📊 Resource Overview",
        "  Namespace: default",
        "  Name:      dynamo-pd",
        "",
        "  Age:       5m",
        "",
        "📦 Role Statuses",
        "processor    1/1\t\t(total: 1)\t[████████████████] 100%",
        "prefill      1/2\t\t(total: 2)\t[████████        ] 50%",
        "",
        "∑ Summary: 2 roles | 2/3 Ready",
        "  Ready=False (RoleNotReady): role prefill: 1/2 ready",
    ]


def test_a_group_that_nobody_looked_at_has_no_status() -> None:
    with pytest.raises(ConfigError, match="no operator has looked"):
        status_text({"metadata": {"name": "g", "namespace": "default"}}, NOW)


def revisions(*contents: Any) -> list[Raw]:
    past: list[Raw] = []
    for roles in contents:
        made = next_revision(group(*roles), past, METADATA)
        assert made is not None
        past.append(made)
    return past


ONE, TWO = [role("a", replicas=3)], [role("a", template=pod("x")), role("b")]


def test_history_counts_on_when_old_content_comes_back() -> None:
    past = revisions(ONE, TWO, ONE)
    rows = [line.split() for line in history_text(past).splitlines()]
    assert [row[1] for row in rows] == ["Revision", "1", "2", "3"]
    assert rows[1][0].rsplit("-", 1)[0] == rows[3][0].rsplit("-", 1)[0]


def test_replicas_alone_make_no_revision() -> None:
    assert next_revision(group(role("a", replicas=9)), revisions(ONE), METADATA) is None


def test_diff_and_content() -> None:
    past = revisions(ONE, TWO)
    found = diff_text(spec(*TWO), past[0])
    assert "-- name: b" in found
    assert diff_text(spec(*ONE), past[0]) == ""
    assert revision_text(past[1]).startswith("roles:\n- name: a\n")


def test_which_revision() -> None:
    past = revisions(ONE, TWO)
    assert find_revision(past, None)["revision"] == 1
    with pytest.raises(ConfigError, match="revision 7 not found; there are: 1, 2"):
        find_revision(past, 7)
    with pytest.raises(ConfigError, match="no enough revision found"):
        find_revision(past[:1], None)


@pytest.mark.parametrize("broken", [[role("a", dependencies=["x"])], [role("a", replicas="many")]])
def test_before_what_could_not_be_built_is_what_runs(broken: list[Raw]) -> None:
    """No operator makes a revision of it, so to go back from it is to go to the newest."""
    past = revisions(ONE, TWO)
    assert find_revision(past, None, {"roles": TWO})["revision"] == 1
    assert find_revision(past, None, {"roles": broken})["revision"] == 2
    assert find_revision(past[:1], None, {"roles": broken})["revision"] == 1


def test_going_back_keeps_the_replicas_that_run() -> None:
    past = revisions(TWO)
    back = rolled_back({"roles": [{"name": "a", "replicas": 5}], "coordination": ["kept"]}, past[0])
    assert [(item["name"], item["replicas"]) for item in back["roles"]] == [("a", 5), ("b", 1)]
    assert back["coordination"] == ["kept"]


@pytest.mark.parametrize(("seconds", "text"), [(5, "5s"), (300, "5m"), (7200, "2h"), (200000, "2d")])
def test_age(seconds: int, text: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


def test_the_plugin_tells_its_version_as_upstreams_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        rbg.run(["--version"], program="kubectl rbg")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("kubectl rbg ")
