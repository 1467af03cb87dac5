"""The README beside the rendered files: how to start them, and from canary to stable."""

from __future__ import annotations

import textwrap

from serving.deploy.model_server import status_path
from serving.deploy.settings import Deployment

_RENDER = "python -m serving deploy --config DIR/settings.yaml --out DIR"


def instructions(deployment: Deployment) -> str:
    """The README."""
    parts = (_head, _one_machine, _kubernetes, _kserve, _canary, _changes)
    return "\n\n".join(part(deployment) for part in parts) + "\n"


def _head(deployment: Deployment) -> str:
    labels = ", ".join(f"{label} = {version}" for label, version in deployment.labels.items())
    versions = ", ".join(map(str, deployment.loaded_versions))
    batching = "in use" if deployment.batching.enabled else "not in use"
    return f"""\
# {deployment.model_name} on TensorFlow Serving

Rendered from `settings.yaml`; do not edit, render anew (DIR is this folder):

    {_RENDER} key=value

Image {deployment.full_image}; loaded: {versions}; labels: {labels}.

| file | what |
| --- | --- |
| `settings.yaml` | all settings, given and default |
| `server/models.config` | versions and labels; read again while the server runs |
| `server/batching.config` | batching, with what each number trades; {batching} |
| `server/monitoring.config` | metrics for Prometheus |
| `compose.yaml`, `prometheus.yml`, `grafana/` | the stack of one machine, with its dashboard |
| `kubernetes/` | manifests, applied together by `kubectl apply -k kubernetes` |
| `kserve/inferenceservice.yaml` | instead of `kubernetes/`, where KServe is |"""


def _one_machine(deployment: Deployment) -> str:
    server, storage = deployment.server, deployment.storage
    if storage.is_mounted:
        start = "MODEL_FOLDER=/path/of/export docker compose up --detach"
        note = "MODEL_FOLDER is the folder that `export --out` wrote."
    else:
        start = "docker compose up --detach"
        note = f"The container needs credentials to read {storage.path}; add them to compose.yaml."
    text = (
        f"{note} The dashboard is at http://127.0.0.1:{deployment.compose.grafana_port}. All ports "
        "are bound to this machine."
    )
    return f"""\
## One machine

    {start}
    curl http://127.0.0.1:{server.rest_port}{status_path(deployment)}
    python -m serving predict --target grpc://127.0.0.1:{server.grpc_port} \\
                              --model {deployment.model_name} --request user.json

{_paragraph(text)}"""


def _kubernetes(deployment: Deployment) -> str:
    name, rest_port = deployment.object_name, deployment.server.rest_port
    kubectl = _kubectl(deployment)
    if deployment.storage.is_mounted:
        models = (
            f"The volume `{deployment.storage.claim}` holds the version folders in its root. Copy "
            "an export there as `.5.unfinished` and rename it to `5`: the server must never find "
            "half a version."
        )
    else:
        account = deployment.kubernetes.service_account or "default"
        models = f"The service account `{account}` must be allowed to read the base path."
    text = (
        f"{models} gRPC clients resolve `dns:///{name}-headless:{deployment.server.grpc_port}` and "
        f"take turns (`round_robin`); REST clients use the service `{name}`. TensorFlow Serving "
        "asks nobody who they are: keep it inside the cluster, or put a gateway before it that "
        "does."
    )
    return f"""\
## Kubernetes

    kubectl apply -k kubernetes
    {kubectl} rollout status deployment/{name}
    {kubectl} port-forward service/{name} {rest_port}
    curl http://127.0.0.1:{rest_port}{status_path(deployment)}

{_paragraph(text)}"""


def _kserve(deployment: Deployment) -> str:
    text = (
        "KServe serves the highest version under one base path, as the model "
        f"`{deployment.dns_model_name}`. There are no version labels; a canary is a base path of "
        "its own, with `kserve.canary_traffic_percent`."
    )
    return f"""\
## KServe

    kubectl apply -f kserve/inferenceservice.yaml

{_paragraph(text)}"""


def _canary(deployment: Deployment) -> str:
    stable = deployment.stable
    candidate = deployment.canary or stable + 1
    name, poll = deployment.model_name, deployment.server.model_config_file_poll_wait_seconds
    port, status = deployment.server.rest_port, status_path(deployment)
    pods = f"/api/v1/namespaces/{deployment.kubernetes.namespace or 'default'}/pods"
    kubectl = _kubectl(deployment)
    introduction = (
        f"Clients ask for a label: over REST `/v1/models/{name}/labels/stable:predict`, over gRPC "
        "with `model_spec.version_label`. A request that names neither label nor version gets the "
        "highest loaded version, which is the canary. Labels do not split traffic: clients, or a "
        "proxy before the server, send a share of the users, always the same ones, to `canary`."
    )
    after = (
        "After each rendering: `kubectl apply -k kubernetes`; Compose needs nothing. Running "
        f"servers follow within {poll} s (in Kubernetes up to about a minute more), and nothing "
        "restarts."
    )
    rule = (
        "A label in use moves only to a version that serves already. The server refuses the whole "
        "file otherwise, and then does not load the version either; `deploy` says so before. To "
        f"put another version in the place of canary {candidate}, take the label away first "
        "(`canary=`), or load the other version beside it (`also_loaded`) and move the label then."
    )
    return f"""\
## From canary to stable

{_paragraph(introduction)}

{_paragraph(after)}

1. **Load** version {candidate}, exported beside {stable}:

       {_RENDER} canary={candidate}

2. **Wait** until every replica says AVAILABLE for it, then send it a share of the users. Compose:

       curl http://127.0.0.1:{port}{status}

   Kubernetes:

       for pod in $({kubectl} get pods --output name \\
                      --selector app.kubernetes.io/name={deployment.object_name}); do
         {kubectl} get --raw {pods}/${{pod#pod/}}:{port}/proxy{status}
       done

3. **Compare.** The server's metrics do not tell versions apart. Every answer over gRPC names its
   version (`model_spec.version`): log it, with latency, errors and what users did.
4. **Promote.** Version {stable} stays in memory, and `canary` answers whoever still asks for it:

       {_RENDER} stable={candidate} also_loaded=[{stable}]

5. **Retire** version {stable}, when nobody asks for `canary` and nobody wants {stable} back:

       {_RENDER} canary= also_loaded=[]

Back from 4 at once: `stable={stable}`. Back from 2: send nobody to `canary`, then `canary=`.

{_paragraph(rule)}"""


def _changes(deployment: Deployment) -> str:
    poll = deployment.server.model_config_file_poll_wait_seconds
    return f"""\
## What takes effect when

| changed | Kubernetes | Compose |
| --- | --- | --- |
| versions, labels | when the ConfigMap has arrived; nothing restarts | within {poll} s |
| flags, image, resources | replicas are replaced one by one | `docker compose up --detach` |
| batching, monitoring | replicas are replaced one by one | `docker compose restart serving` |
| dashboard | import it anew | `docker compose restart grafana` |"""


def _kubectl(deployment: Deployment) -> str:
    namespace = deployment.kubernetes.namespace
    return "kubectl" if namespace is None else f"kubectl --namespace {namespace}"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 100, break_on_hyphens=False, break_long_words=False)
