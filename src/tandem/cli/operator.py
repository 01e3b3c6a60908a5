"""`tandem operator`: run the RoleBasedGroup operator, in a cluster or beside one."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from tandem.errors import ConfigError, ServingError, Unavailable
from tandem.operator.access import Access, find_access
from tandem.operator.api import ApiError


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command."""
    options = _parser(program).parse_args(arguments)
    if options.print_crds:
        from tandem.operator.crds import as_yaml, crds

        print("---\n".join(as_yaml(document) for document in crds().values()), end="")
        return 0
    access = find_access(os.environ, kubeconfig=options.kubeconfig, context=options.context)
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.INFO, format="%(asctime)s %(message)s")
    for noisy in ("kopf", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.DEBUG if options.verbose else logging.WARNING)
    return asyncio.run(_serve(access, options, os.environ))


async def _serve(access: Access, options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    try:
        from tandem.operator.handlers import webhook_server
        from tandem.operator.service import Operator, OperatorSettings
    except ImportError as error:
        raise ConfigError(f"the operator needs kopf ({error}); install tandem-pd[operator]") from error

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    webhook = None
    if options.webhook_port:
        webhook = webhook_server(
            options.webhook_port,
            host=options.webhook_url_host,
            cert=options.webhook_cert,
            key=options.webhook_key,
            authority=options.webhook_ca,
        )
    wish = OperatorSettings(
        namespace=options.namespace,
        lease_namespace=options.lease_namespace or environ.get("POD_NAMESPACE") or access.namespace,
        workers=options.workers,
        http_port=options.http_port,
        webhook=webhook,
        webhook_managed=options.webhook_name if options.webhook_url_host else None,
    )
    try:
        await Operator(access, wish, stop).run()
    except* ServingError as errors:
        raise errors.exceptions[0] from None
    except* ApiError as errors:
        raise Unavailable(f"{access.server}: {errors.exceptions[0]}") from None
    print(f"{options.program}: stopped", file=sys.stderr)
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, allow_abbrev=False, description="Run the RoleBasedGroup operator until it is told to stop."
    )
    parser.set_defaults(program=program)
    add = parser.add_argument
    add("--kubeconfig", metavar="PATH", help="default: $KUBECONFIG, the pod's account, ~/.kube/config")
    add("--context", metavar="NAME", help="context of the kubeconfig")
    add("-n", "--namespace", metavar="NAME", help="watch this namespace only; default: all")
    add("--lease-namespace", metavar="NAME", help="namespace of the leader's lease; default: the pod's")
    add("--workers", type=int, default=8, metavar="N", help="groups worked on at once; default 8")
    add("--http-port", type=int, default=8081, metavar="PORT", help="/live, /ready, /metrics; default 8081")
    add("--webhook-port", type=int, metavar="PORT", help="serve admission here; default: no admission")
    add("--webhook-cert", metavar="PATH", help="certificate of the admission server, PEM")
    add("--webhook-key", metavar="PATH", help="its private key, PEM")
    add("--webhook-ca", metavar="PATH", help="the authority that the API server should trust for it, PEM")
    add(
        "--webhook-url-host",
        metavar="HOST",
        help="our address as the API server sees it; registers the webhook",
    )
    add("--webhook-name", default="tandem-operator.workloads.x-k8s.io", help=argparse.SUPPRESS)
    add("--print-crds", action="store_true", help="print the CustomResourceDefinitions and exit")
    add("-v", "--verbose", action="store_true", help="log more")
    return parser
