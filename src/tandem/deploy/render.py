"""A description becomes steps of objects, in the order in which they are applied. Pure."""

from dataclasses import replace

from tandem.deploy.autoscaling import scalers
from tandem.deploy.configuration import config_map
from tandem.deploy.description import Description, FromSecret
from tandem.deploy.etcd import etcd_objects
from tandem.deploy.fluid import fluid_objects
from tandem.deploy.front import front_service, routes
from tandem.deploy.group import group
from tandem.deploy.monitoring import monitors
from tandem.deploy.nats import nats_objects, needed_secrets
from tandem.deploy.objects import NeededSecret, Step
from tandem.deploy.policies import disruption_budgets, network_policies
from tandem.deploy.prepull import pre_pull
from tandem.deploy.pull import pull_job, pull_secrets
from tandem.deploy.storage import storage_step


def render(wish: Description, *, minor: int) -> list[Step]:
    """All steps; those without an object or a Secret are left out.

    Args:
        minor: Kubernetes 1.`minor`, which decides the API versions.
    """
    steps = [
        storage_step(wish),
        Step(
            name="pull",
            about="the model into its new volume",
            objects=pull_job(wish),
            secrets=pull_secrets(wish),
        ),
        Step(name="cache", about="Fluid: the weights on the nodes", objects=fluid_objects(wish)),
        Step(
            name="policies",
            about="who may talk to whom, and how many pods may go at once",
            objects=[*network_policies(wish), *disruption_budgets(wish, minor)],
        ),
        Step(name="etcd", about="where instances find each other", objects=etcd_objects(wish)),
        Step(
            name="nats",
            about="the bus and the prefill queue",
            objects=nats_objects(wish),
            secrets=needed_secrets(wish),
        ),
        Step(name="config", about="the services' configuration", objects=[config_map(wish)]),
        Step(name="pre-pull", about="the image on the nodes", objects=pre_pull(wish)),
        Step(
            name="group",
            about="processor, prefill and decode workers",
            objects=[group(wish)],
            secrets=_named_secrets(wish),
        ),
        Step(name="front", about="what clients reach", objects=[front_service(wish), *routes(wish)]),
        Step(name="metrics", about="figures for Prometheus", objects=monitors(wish)),
        Step(name="scaling", about="replicas that follow the load", objects=scalers(wish, minor)),
    ]
    numbered = [replace(step, number=number) for number, step in enumerate(steps, 1)]
    return [step for step in numbered if step.objects or step.secrets]


def _named_secrets(wish: Description) -> list[NeededSecret]:
    """Those that the pods name and only a person can make."""
    found = []
    if (name := wish.front.keys_secret) is not None:
        found.append(NeededSecret(name=name, keys=("keys.yaml",), why="the keys of clients, see `tandem keys`"))
    if (name := wish.planes.etcd.secret) is not None:
        found.append(NeededSecret(name=name, keys=("username", "password"), why="user and password of etcd"))
    named: dict[str, set[str]] = {}
    for role in wish.every_role().values():
        for value in role.env.values():
            if isinstance(value, FromSecret):
                named.setdefault(value.secret, set()).add(value.key)
    why = "for the environment of pods"
    found += [NeededSecret(name=name, keys=tuple(sorted(keys)), why=why) for name, keys in sorted(named.items())]
    found += [NeededSecret(name=name, keys=(), why="for pulling images") for name in wish.image_pull_secrets]
    return found
