"""`arbora agent`: run the agent of a member, or print what installs it in a cluster."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from arbora.cli.allowing import AllowClusterRole, AllowRole, AllowRulesOf, AllowToken, allowed
from arbora.cli.options import examples

app = typer.Typer(no_args_is_help=True, help="Run the agent of a member cluster, or install it.")

NODE_PANEL = "With --mode node"


class Mode(StrEnum):
    """What the agent is for."""

    CLUSTER = "cluster"
    NODE = "node"


MarkNodes = Annotated[
    list[str] | None,
    typer.Option(
        "--mark-nodes",
        metavar="taint|condition",
        envvar="ARBORA_MARK_NODES",
        help="What it may show on nodes whose GPUs are not well; repeat for both.",
    ),
]


@app.command(
    "run",
    epilog=examples(
        "arbora agent run --hub hub.example.org:7444 --join-token arb1.…",
        "arbora agent run --hub 127.0.0.1:7444 --join-token-file t --simulate 4x8xH100",
        "arbora agent run --mode node --cluster-agent arbora-agent:7446",
    ),
)
def run(
    mode: Annotated[
        Mode,
        typer.Option("--mode", help="cluster: one for the whole cluster. node: reads the GPUs of its node."),
    ] = Mode.CLUSTER,
    hub: Annotated[
        str,
        typer.Option(
            "--hub", metavar="HOST:PORT", envvar="ARBORA_HUB", help="The hub's join address (first start)."
        ),
    ] = "",
    join_token: Annotated[
        str,
        typer.Option(
            "--join-token", metavar="TOKEN", envvar="ARBORA_JOIN_TOKEN", help="The join token (first start only)."
        ),
    ] = "",
    join_token_file: Annotated[
        Path | None, typer.Option("--join-token-file", metavar="FILE", help="A file that holds it.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", envvar="ARBORA_NAME", help="The member's name; default: the join token's.")
    ] = "",
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Where its identity and journal are kept.")
    ] = None,
    identity_secret: Annotated[
        bool,
        typer.Option("--identity-secret", help="Keep the identity in a Secret of the pod's namespace instead."),
    ] = False,
    simulate: Annotated[
        str,
        typer.Option("--simulate", metavar="FLEET", help="Simulate a cluster: 4 nodes with 8 H100 are 4x8xH100."),
    ] = "",
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", metavar="FILE", help="Default: the pod's own account.")
    ] = None,
    kube_context: Annotated[
        str, typer.Option("--context", metavar="NAME", help="Which context of the kubeconfig.")
    ] = "",
    allow_token: AllowToken = None,
    allow_role: AllowRole = None,
    allow_cluster_role: AllowClusterRole = None,
    allow_rules_of: AllowRulesOf = "",
    node_address: Annotated[
        str,
        typer.Option(
            "--node-address",
            metavar="HOST:PORT",
            envvar="ARBORA_NODE_ADDRESS",
            help="Listen here for the agents of this cluster's nodes; :7446 in a pod.",
        ),
    ] = "",
    mark_nodes: MarkNodes = None,
    tunnels: Annotated[
        bool,
        typer.Option("--tunnels/--no-tunnels", help="Let the hub open ways to this cluster's API server."),
    ] = True,
    metrics_address: Annotated[
        str,
        typer.Option(
            "--metrics-address",
            metavar="HOST:PORT",
            envvar="ARBORA_METRICS_ADDRESS",
            help="Serve metrics for Prometheus here, such as :9400.",
        ),
    ] = "",
    cluster_agent: Annotated[
        str,
        typer.Option(
            "--cluster-agent",
            metavar="HOST:PORT",
            envvar="ARBORA_CLUSTER_AGENT",
            help="The cluster's agent.",
            rich_help_panel=NODE_PANEL,
        ),
    ] = "",
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="The service account token; default: where the manifest mounts it.",
            rich_help_panel=NODE_PANEL,
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            "--ca-file",
            metavar="FILE",
            help="What verifies the cluster's agent; default: likewise.",
            rich_help_panel=NODE_PANEL,
        ),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(
            "--interval", min=1.0, max=60.0, help="Seconds between two readings.", rich_help_panel=NODE_PANEL
        ),
    ] = 10.0,
    kernel_log: Annotated[
        bool,
        typer.Option(
            "--kernel-log/--no-kernel-log",
            help="Look for earlier GPU errors in the kernel log at the start.",
            rich_help_panel=NODE_PANEL,
        ),
    ] = True,
    pod_resources: Annotated[
        Path | None,
        typer.Option(
            "--pod-resources",
            metavar="SOCKET",
            help="The kubelet's, which tells exactly which pods hold which GPUs.",
            rich_help_panel=NODE_PANEL,
        ),
    ] = None,
    replay: Annotated[
        str,
        typer.Option(
            "--replay",
            metavar="NAME|FILE",
            help="Play a recording instead of reading devices.",
            rich_help_panel=NODE_PANEL,
        ),
    ] = "",
    replay_again: Annotated[
        bool,
        typer.Option("--replay-again", help="And again when it ends.", rich_help_panel=NODE_PANEL),
    ] = False,
) -> None:
    """Run the agent until it is told to stop (SIGTERM or Ctrl-C). It dials out, and listens only where told to.

    With --mode node it reads the GPUs of one node and tells the cluster's agent; see docs/gpus.md.
    """
    if mode is Mode.NODE:
        _run_node(
            cluster_agent=cluster_agent,
            interval=interval,
            kernel_log=kernel_log,
            pod_resources=pod_resources,
            replay=replay,
            replay_again=replay_again,
            metrics_address=metrics_address,
            **({"token_file": token_file} if token_file is not None else {}),
            **({"ca_file": ca_file} if ca_file is not None else {}),
        )
        return
    import os

    from arbora.cli.daemon import load, run_daemon
    from arbora.context import agent_data_dir
    from arbora.errors import InvalidInput
    from arbora.secret import Secret

    if join_token and join_token_file is not None:
        raise InvalidInput("--join-token and --join-token-file are given at once", hint="Give one of them.")
    if simulate and (kubeconfig is not None or kube_context):
        raise InvalidInput("--simulate needs no cluster", hint="Leave --kubeconfig and --context out.")
    settings = load("arbora_agent.settings", "agent").AgentSettings(
        data_dir=data_dir or agent_data_dir(os.environ, name),
        hub=hub,
        join_token=Secret(_join_token(join_token, join_token_file)),
        name=name,
        simulate=simulate,
        kubeconfig=str(kubeconfig or ""),
        context=kube_context,
        **allowed(allow_token, allow_role, allow_cluster_role, allow_rules_of),
        identity_secret=identity_secret,
        node_address=node_address,
        mark_nodes=tuple(mark_nodes or ()),
        tunnels=tunnels,
        metrics_address=metrics_address,
    )
    if metrics_address:
        load("arbora.metrics", "agent")  # a library that is missing is said here
    app_module = load("arbora_agent.app", "agent")
    run_daemon(lambda stop: app_module.run(settings, stop))


def _run_node(**given: Any) -> None:
    import json
    import os
    import sys

    from arbora.cli.daemon import load
    from arbora.errors import InvalidInput

    if not given["cluster_agent"]:
        raise InvalidInput(
            "a node agent needs the address of its cluster's agent",
            hint="Give it with --cluster-agent, such as arbora-agent.arbora-system.svc:7446.",
        )
    if given["replay"]:
        load("arbora_agent.gpu.recorded", "agent").named(given["replay"])  # a wrong name is said here
    load("arbora_agent.node_agent.settings", "agent")
    if given["metrics_address"]:
        load("arbora.metrics", "agent")
    given["node_name"] = os.environ.get("NODE_NAME", "")  # as dcgm-exporter calls it, too
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    # The same process goes on without what reading a command line has loaded: a quarter of its memory.
    os.execv(sys.executable, [sys.executable, "-m", "arbora_agent.node_agent", json.dumps(plain)])


@app.command(
    "manifest",
    epilog=examples("arbora agent manifest --hub hub.example.org:7444 --join-token arb1.… | kubectl apply -f -"),
)
def manifest(
    hub: Annotated[
        str, typer.Option("--hub", metavar="HOST:PORT", envvar="ARBORA_HUB", help="The hub's join address.")
    ],
    join_token: Annotated[
        str, typer.Option("--join-token", metavar="TOKEN", envvar="ARBORA_JOIN_TOKEN", help="The join token.")
    ] = "",
    join_token_file: Annotated[
        Path | None, typer.Option("--join-token-file", metavar="FILE", help="A file that holds it.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="The member's name; default: the join token's.")] = "",
    image: Annotated[str, typer.Option("--image", help="The agent's image; default: this version's.")] = "",
    allow_token: AllowToken = None,
    allow_role: AllowRole = None,
    allow_cluster_role: AllowClusterRole = None,
    allow_rules_of: AllowRulesOf = "",
    grant: Annotated[
        list[str] | None,
        typer.Option("--grant", metavar="GROUP/RESOURCE", help="A further kind it may apply; repeat for more."),
    ] = None,
    node_agents: Annotated[
        bool,
        typer.Option("--node-agents/--no-node-agents", help="Agents on nodes with NVIDIA GPUs."),
    ] = True,
    runtime_class: Annotated[
        str,
        typer.Option(
            "--runtime-class",
            metavar="NAME",
            help="What gives node agents the driver; '' for the default.",
        ),
    ] = "nvidia",
    kernel_log: Annotated[
        bool,
        typer.Option("--kernel-log", help="Let node agents read the kernel log, as root with CAP_SYSLOG."),
    ] = False,
    pod_resources: Annotated[
        bool,
        typer.Option(
            "--pod-resources", help="Let node agents ask the kubelet which pods hold which GPUs, as root."
        ),
    ] = False,
    mark_nodes: MarkNodes = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Let Prometheus read both kinds of agents, at port 9400.")
    ] = False,
) -> None:
    """Print what installs the agent in a cluster: namespace, account, least rights, Deployment, DaemonSet.

    Node agents run where GPU operator or feature discovery labels say that there are NVIDIA GPUs.
    """
    from arbora.cli.console import write
    from arbora.cli.daemon import load
    from arbora.errors import InvalidInput
    from arbora.manifests.strict_yaml import dump_yaml

    token = _join_token(join_token, join_token_file)
    if not token:
        raise InvalidInput("there is no join token", hint="Make one with `arbora join-token create`.")
    settings = load("arbora_agent.manifest.settings", "agent")
    render = load("arbora_agent.manifest.agent", "agent").render
    given = {
        "hub": hub,
        "join_token": token,
        "name": name,
        **allowed(allow_token, allow_role, allow_cluster_role, allow_rules_of),
        "grants": tuple(grant or ()),
        "node_agents": node_agents,
        "runtime_class": runtime_class,
        "kernel_log": kernel_log,
        "pod_resources": pod_resources,
        "mark_nodes": tuple(mark_nodes or ()),
        "metrics": metrics,
        **({"image": image} if image else {}),
    }
    write(dump_yaml(render(settings.ManifestSettings(**given))))


def _join_token(text: str, file: Path | None) -> str:
    """The token as text; whoever uses it parses it and wraps it."""
    if file is None:
        return text.strip()
    from arbora.errors import InvalidInput

    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the join token file {file} can't be read") from error
