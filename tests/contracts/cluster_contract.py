"""What every adapter of `tandem.deploy`'s port to a cluster promises. A subclass supplies `cluster` and `namespace`."""

import secrets

import pytest

from tandem.deploy.objects import MANAGER, Object
from tandem.deploy.ports import Cluster, Refused


def config_map(namespace: str, name: str = "", **data: str) -> Object:
    name = name or f"c-{secrets.token_hex(4)}"
    metadata = {"name": name, "namespace": namespace, "labels": {"made-for": name}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class ClusterContract:
    """Inherited by a test class per adapter."""

    async def test_it_knows_its_version_and_its_kinds(self, cluster: Cluster) -> None:
        assert await cluster.minor() >= 20
        assert await cluster.serves("v1", "ConfigMap")
        assert await cluster.serves("workloads.x-k8s.io/v1alpha1", "RoleBasedGroup")
        assert not await cluster.serves("v1", "Teapot")
        assert not await cluster.serves("nothing.example.com/v1", "ConfigMap")

    async def test_a_dry_run_says_what_would_be_and_changes_nothing(self, cluster: Cluster, namespace: str) -> None:
        item = config_map(namespace, a="1")
        assert (await cluster.apply(item, dry_run=True))["data"] == {"a": "1"}
        assert await cluster.get(item) is None

    async def test_an_apply_owns_its_fields_and_leaves_those_of_others(self, cluster: Cluster, namespace: str) -> None:
        item = config_map(namespace, a="1", b="1")
        await cluster.apply(item, dry_run=False)
        await cluster.apply({**item, "data": {"a": "2"}}, dry_run=False)
        found = await cluster.get(item)
        assert found is not None
        assert found["data"] == {"a": "2"}, "a field that is applied no longer goes"
        assert [entry["manager"] for entry in found["metadata"]["managedFields"]] == [MANAGER]

    async def test_what_is_there_cannot_be_created_again(self, cluster: Cluster, namespace: str) -> None:
        item = config_map(namespace, a="1")
        await cluster.create(item)
        with pytest.raises(Refused) as told:
            await cluster.create(item)
        assert told.value.status == 409

    async def test_what_is_gone_may_be_deleted_again(self, cluster: Cluster, namespace: str) -> None:
        item = config_map(namespace, a="1")
        await cluster.create(item)
        live = await cluster.get(item)
        assert live is not None
        live = {**item, "metadata": live["metadata"]}
        await cluster.delete(live)
        assert await cluster.get(item) is None
        await cluster.delete(live)

    async def test_lists_are_by_label_and_empty_where_there_is_no_such_kind(
        self, cluster: Cluster, namespace: str
    ) -> None:
        item = config_map(namespace, a="1")
        await cluster.create(item)
        name = item["metadata"]["name"]
        listed = await cluster.listed("v1", "ConfigMap", namespace, f"made-for={name}")
        assert [each["metadata"]["name"] for each in listed] == [name]
        assert list(await cluster.listed("v1", "ConfigMap", namespace, "made-for=nobody")) == []
        assert list(await cluster.listed("v1", "Teapot", namespace)) == []

    async def test_an_object_that_is_not_one_is_refused(self, cluster: Cluster, namespace: str) -> None:
        with pytest.raises(Refused):
            await cluster.apply(config_map(namespace, "Not A Name"), dry_run=True)
        with pytest.raises(Refused):
            await cluster.apply(config_map("no-such-namespace"), dry_run=True)

    async def test_a_log_that_is_not_there_is_empty(self, cluster: Cluster, namespace: str) -> None:
        assert await cluster.log(namespace, "nobody", "main", previous=False) == ""
