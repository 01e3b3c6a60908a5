"""`tandem deploy`: a service on Kubernetes from one short description."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tandem.deploy.check import notices
from tandem.deploy.configuration import configuration
from tandem.deploy.description import Description
from tandem.deploy.fit import fit_faults, told_shape
from tandem.deploy.guide import render_like_the_guide
from tandem.deploy.monitoring import adapter_values
from tandem.deploy.objects import Step, parse_version
from tandem.deploy.pull import pulled_source
from tandem.deploy.reading import read_description
from tandem.deploy.render import render
from tandem.deploy.text import as_yaml, files, whole_text
from tandem.errors import ConfigError, ModelBroken
from tandem.settings.document import load_deployment

ADAPTER_FILE = "metrics-adapter-values.yaml"
EXIT = """\
exit status: 0 done, or no difference; 1 differences, refused, or not ready in time; 2 usage or configuration,
and for diff whatever kept it from telling."""
_TEXTS = {
    "render": "print the objects",
    "diff": "what apply would change, by the server's own dry run",
    "apply": "show what will change, change it, and wait until the service is ready",
    "status": "how the service is, and in words what is wrong",
    "delete": "take the service away; its volumes and passwords stay unless --volumes",
}


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command."""
    options = _parser(program).parse_args(arguments)
    if options.verb == "apply" and not options.timeout > 0:
        raise ConfigError(f"--timeout {options.timeout:g} must be a number of seconds above 0, or say --no-wait")
    wish = _read(options.file)
    if options.verb in ("render", "diff", "apply"):
        _check_source(wish, options.file)
        _check_fit(wish, options.file, program)
        for notice in [*_check_configuration(wish, options.file), *notices(wish)]:
            print(f"{program}: {notice}", file=sys.stderr)
    if options.verb == "render":
        return _render(wish, options, program)
    from tandem.cli.deploy_live import run_live

    return run_live(wish, options, program, lambda minor: steps_of(wish, options, minor))


def steps_of(wish: Description, options: argparse.Namespace, minor: int) -> list[Step]:
    """What the options ask for: our set, or the guide's."""
    return render_like_the_guide(wish) if options.like_the_guide else render(wish, minor=minor)


def _read(name: str) -> Description:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not text: {error.reason}") from error
    return read_description(text, "standard input" if name == "-" else name)


def _check_configuration(wish: Description, origin: str) -> list[str]:
    """Read the rendered configuration as the services will: a key that is misspelt is found here, not in a pod.

    Returns what had better be known. Raises `ConfigError` with every fault.
    """
    from tandem.graph.configure import configure
    from tandem.graph.declare import info_of
    from tandem.graph.engine_keys import unknown_engine
    from tandem.graph.loading import Graph
    from tandem.graph.services import BUILT_IN
    from tandem.router.registry import BY_CACHE, rule_named

    absent = []
    if wish.router.mode != BY_CACHE:
        try:
            rule_named(wish.router.mode)
        except ConfigError as error:
            absent.append(str(error))
            wish = msgspec.structs.replace(wish, router=msgspec.structs.replace(wish.router, mode=BY_CACHE))
    deployment = load_deployment(as_yaml(configuration(wish)), origin=f"{origin}: settings")
    fault = unknown_engine(wish.engine.kind)
    ours = {info_of(cls).name: cls for cls in BUILT_IN}
    services = {} if fault else {name: cls for name, cls in ours.items() if name in deployment.sections}
    configure(deployment, Graph(entry="", services=services, edges={}), {}, known=BUILT_IN)
    if fault:
        absent.append(fault)
    return [f"{each}; that is so on this machine, and the image may have it" for each in absent]


def _check_source(wish: Description, origin: str) -> None:
    """A source that is none would be found by a Job, ten pods later."""
    if (source := pulled_source(wish)) is None:
        return
    from tandem.models.places import parse_place

    try:
        place = parse_place(source)
    except ConfigError as error:
        raise ConfigError(f"{origin}: model.storage.source: {error}") from error
    if place.kind == "folder":
        raise ConfigError(f"{origin}: model.storage.source: a folder of this machine is none of the pod's")


def _check_fit(wish: Description, origin: str, program: str) -> None:
    shape = told_shape(wish)
    if wish.model.folder is not None:
        from tandem.models.architectures import why_no_engine
        from tandem.models.folder import read_model

        try:
            shape = read_model(Path(origin).parent / Path(wish.model.folder).expanduser())
        except ModelBroken as error:
            raise ConfigError(f"{origin}: model.folder: {error}") from error
        if wish.engine.kind == "vllm" and (trouble := why_no_engine(shape.architecture)):
            print(f"{program}: {trouble}", file=sys.stderr)
    if shape is not None and (faults := list(fit_faults(wish, shape))):
        raise ConfigError("\n".join(f"{origin}: {fault}" for fault in faults))


def _render(wish: Description, options: argparse.Namespace, program: str) -> int:
    steps = steps_of(wish, options, parse_version(options.kube_version or "newest"))
    if options.adapter_values:
        print(as_yaml(adapter_values(wish)), end="")
        return 0
    if options.output is None:
        print(whole_text(steps), end="")
        return 0
    folder = Path(options.output)
    if not folder.is_dir() and next(path for path in (folder, *folder.parents) if path.exists()).is_file():
        raise ConfigError(f"-o {folder} is a file, or lies below one: name a folder for one file per step")
    texts = dict(files(steps))
    if wish.metrics and not options.like_the_guide:
        texts[f"helm/{ADAPTER_FILE}"] = as_yaml(adapter_values(wish))
    try:
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}") from error
    others = sorted(path.name for path in folder.glob("*.yaml") if path.name not in texts)
    print(f"{program}: {len(texts)} files in {folder}", file=sys.stderr)
    if others:
        print(f"{program}: not of this description, and left: {', '.join(others)}", file=sys.stderr)
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    about = "A service on Kubernetes, from one short description (docs/deploy.md)."
    parser = argparse.ArgumentParser(
        prog=program, allow_abbrev=False, description=about, epilog=EXIT, formatter_class=form
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    for verb, text in _TEXTS.items():
        one = verbs.add_parser(verb, help=text, description=text, epilog=EXIT, formatter_class=form, allow_abbrev=False)
        add = one.add_argument
        add("-f", "--file", metavar="FILE", required=True, help="the description; - reads standard input")
        add("--like-the-guide", action="store_true", help="the deployment guide's own set, field for field")
        if verb in ("render", "diff", "apply"):
            server = "newest" if verb == "render" else "the server's"
            add("--kube-version", metavar="1.N", help=f"decides API versions, 1.22 or later; default: {server}")
        if verb != "render":
            add("--kubeconfig", metavar="PATH", help="default: $KUBECONFIG, the pod's account, ~/.kube/config")
            add("--context", metavar="NAME", help="context of the kubeconfig")
    _own_options(verbs)
    return parser


def _own_options(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What only one of the commands takes."""
    add = verbs.choices["render"].add_argument
    add("-o", "--output", metavar="DIR", help="write one file per step there, instead of one stream")
    add("--adapter-values", action="store_true", help="print the metrics adapter's Helm values instead")
    add = verbs.choices["apply"].add_argument
    add("--no-wait", action="store_true", help="do not wait until the service is ready")
    add("--timeout", type=float, default=1800.0, metavar="SECONDS", help="longest wait; default 1800")
    add("--take-over", action="store_true", help="also change objects of these names that others made")
    add("--prune", action="store_true", help="delete what an earlier description had and this one has not")
    verbs.choices["status"].add_argument("--json", action="store_true", help="for programs")
    add = verbs.choices["delete"].add_argument
    add("--yes", action="store_true", help="do not ask")
    add("--volumes", action="store_true", help="also delete volumes, claims and the passwords that were made")
