"""The adapter of `tandem.deploy`'s port, on a real API server, keeps the contract that the one in memory keeps."""

import pytest
from tests.contracts.cluster_contract import ClusterContract
from tests.kube.cluster import Cluster

from tandem.cli.deploy_cluster import KubeCluster


class TestKubeCluster(ClusterContract):
    @pytest.fixture
    def cluster(self, empty: Cluster) -> KubeCluster:
        return KubeCluster(empty.api)

    @pytest.fixture
    def namespace(self, empty: Cluster) -> str:
        return empty.namespace
