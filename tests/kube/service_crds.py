"""CRDs of the kinds that `tandem deploy` writes and others bring, as far as it writes them: fields and their types.

Fluid (data.fluid.io), the Prometheus operator, KEDA and the Gateway API publish larger ones. What is not named here is
refused by the server's own apply, so that a field which we misspell does not pass.
"""

from tests.kube.fixtures import crd

from tandem.operator.types import Raw

ANY: Raw = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
TEXT: Raw = {"type": "string"}
COUNT: Raw = {"type": "integer", "format": "int32"}
YES: Raw = {"type": "boolean"}
MAP: Raw = {"type": "object", "additionalProperties": TEXT}


def obj(*, needs: tuple[str, ...] = (), **properties: Raw) -> Raw:
    schema: Raw = {"type": "object", "properties": properties}
    return schema | ({"required": list(needs)} if needs else {})


def many(items: Raw) -> Raw:
    return {"type": "array", "items": items}


def choice(*values: str) -> Raw:
    return {"type": "string", "enum": list(values)}


_EXPRESSION = obj(key=TEXT, operator=TEXT, values=many(TEXT), needs=("key", "operator"))
_SELECTOR = obj(matchLabels=MAP, matchExpressions=many(_EXPRESSION))
POD_MONITOR = crd(
    "monitoring.coreos.com",
    "v1",
    "PodMonitor",
    obj(
        selector=_SELECTOR,
        namespaceSelector=obj(any=YES, matchNames=many(TEXT)),
        podTargetLabels=many(TEXT),
        podMetricsEndpoints=many(obj(port=TEXT, path=TEXT, interval=TEXT, scheme=TEXT, relabelings=many(ANY))),
        needs=("selector",),
    ),
)
_BEHAVIOR = obj(
    stabilizationWindowSeconds=COUNT,
    selectPolicy=TEXT,
    policies=many(obj(type=TEXT, value=COUNT, periodSeconds=COUNT, needs=("type", "value", "periodSeconds"))),
)
SCALED_OBJECT = crd(
    "keda.sh",
    "v1alpha1",
    "ScaledObject",
    obj(
        scaleTargetRef=obj(apiVersion=TEXT, kind=TEXT, name=TEXT, envSourceContainerName=TEXT, needs=("name",)),
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        idleReplicaCount=COUNT,
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
        fallback=obj(failureThreshold=COUNT, replicas=COUNT),
        advanced=obj(
            restoreToOriginalReplicaCount=YES,
            horizontalPodAutoscalerConfig=obj(name=TEXT, behavior=obj(scaleUp=_BEHAVIOR, scaleDown=_BEHAVIOR)),
        ),
        triggers=many(
            obj(
                type=TEXT,
                name=TEXT,
                metadata=MAP,
                metricType=choice("AverageValue", "Value", "Utilization"),
                authenticationRef=ANY,
                needs=("type", "metadata"),
            )
        ),
        needs=("scaleTargetRef", "triggers"),
    ),
)
HTTP_ROUTE = crd(
    "gateway.networking.k8s.io",
    "v1",
    "HTTPRoute",
    obj(
        parentRefs=many(
            obj(group=TEXT, kind=TEXT, namespace=TEXT, name=TEXT, sectionName=TEXT, port=COUNT, needs=("name",))
        ),
        hostnames=many(TEXT),
        rules=many(
            obj(
                matches=many(obj(path=obj(type=choice("Exact", "PathPrefix", "RegularExpression"), value=TEXT))),
                backendRefs=many(obj(name=TEXT, namespace=TEXT, port=COUNT, weight=COUNT, needs=("name",))),
                timeouts=obj(request=TEXT, backendRequest=TEXT),
            )
        ),
    ),
)
_KEY = obj(secretKeyRef=obj(name=TEXT, key=TEXT))
DATASET = crd(
    "data.fluid.io",
    "v1alpha1",
    "Dataset",
    obj(
        mounts=many(
            obj(
                mountPoint=TEXT,
                name=TEXT,
                path=TEXT,
                options=MAP,
                readOnly=YES,
                shared=YES,
                encryptOptions=many(obj(name=TEXT, valueFrom=_KEY, needs=("name",))),
                needs=("mountPoint",),
            )
        ),
        accessModes=many(TEXT),
        placement=choice("Exclusive", "", "Shared"),
        nodeAffinity=obj(required=obj(nodeSelectorTerms=many(obj(matchExpressions=many(_EXPRESSION))))),
        tolerations=many(ANY),
    ),
)
_LEVEL = obj(
    mediumtype=choice("MEM", "SSD", "HDD"),
    volumeType=TEXT,
    path=TEXT,
    quota={"x-kubernetes-int-or-string": True},
    high=TEXT,
    low=TEXT,
    needs=("mediumtype",),
)
_RUNTIME = obj(
    replicas=COUNT,
    tieredstore=obj(levels=many(_LEVEL)),
    properties=MAP,
    master=ANY,
    worker=ANY,
    fuse=obj(
        args=many(TEXT),
        image=TEXT,
        properties=MAP,
        nodeSelector=MAP,
        cleanPolicy=choice("OnDemand", "OnRuntimeDeleted", "OnFuseChanged", "OnFuseChangedCleanup", ""),
    ),
)
JINDO = crd("data.fluid.io", "v1alpha1", "JindoRuntime", _RUNTIME)
ALLUXIO = crd("data.fluid.io", "v1alpha1", "AlluxioRuntime", _RUNTIME)
DATA_LOAD = crd(
    "data.fluid.io",
    "v1alpha1",
    "DataLoad",
    obj(
        dataset=obj(name=TEXT, namespace=TEXT, needs=("name",)),
        loadMetadata=YES,
        target=many(obj(path=TEXT, replicas=COUNT, needs=("path",))),
        options=MAP,
        policy=choice("Once", "Cron", "OnEvent"),
    ),
)
SERVICE_CRDS = [POD_MONITOR, SCALED_OBJECT, HTTP_ROUTE, DATASET, JINDO, ALLUXIO, DATA_LOAD]
