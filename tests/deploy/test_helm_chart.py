import json
import re

import pytest
import yaml
from deploy_tools import DEPLOY, run

CHART = DEPLOY / "helm" / "fedprint-hub"
PLAIN = {"consortium": {"name": "Chests", "address": "hub.example.org:8443"}}
FULL = PLAIN | {
    "image": {"repository": "registry.example.org/fedprint-hub", "pullSecrets": ["registry"]},
    "database": {
        "url": "postgresql+psycopg://fedprint@db.example.org/fedprint",
        "passwordSecret": {"name": "fedprint-database", "key": "password"},
    },
    "networkPolicy": {
        "sites": ["203.0.113.0/24", "198.51.100.7/32"],
        "databaseCidr": "10.1.0.0/16",
        "metricsNamespace": "monitoring",
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "persistence": {"storageClass": "encrypted"},
    "service": {"loadBalancerSourceRanges": ["203.0.113.0/24"]},
    "nodeSelector": {"zone": "a"},
    "tolerations": [{"operator": "Exists"}],
}
CLAIMED = PLAIN | {"persistence": {"existingClaim": "kept"}}
_RENDER = """
import json, sys, helm_python
values = json.loads(sys.argv[2])
with helm_python.Chart.load(sys.argv[1]) as chart:
    try:
        print(json.dumps(chart.render(values, name="demo", namespace="prod")))
    except helm_python.HelmError as error:
        print(json.dumps({"error": str(error)}))
"""
_LINT = """
import json, sys, helm_python
print(json.dumps(helm_python.lint(sys.argv[1], values=json.loads(sys.argv[2]))))
"""


def rendered(values):
    return json.loads(run("python-with-helm", "-c", _RENDER, CHART, json.dumps(values)))


def resources(values):
    """(Kind, name) → resource."""
    texts = [text for path, text in rendered(values).items() if path.endswith(".yaml")]
    found = [each for text in texts for each in yaml.safe_load_all(text) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def pod_of(values):
    return resources(values)["StatefulSet", "demo-fedprint-hub"]["spec"]["template"]["spec"]


def policy_of(values):
    return resources(values)["NetworkPolicy", "demo-fedprint-hub"]["spec"]


@pytest.mark.parametrize("values", [PLAIN, FULL, CLAIMED], ids=["plain", "full", "claimed"])
def test_helm_finds_nothing_wrong(values):
    found = json.loads(run("python-with-helm", "-c", _LINT, CHART, json.dumps(values)))
    assert found["errors"] == []
    assert [message["error"] for message in found["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("values", [PLAIN, FULL, CLAIMED], ids=["plain", "full", "claimed"])
@pytest.mark.parametrize("version", ["1.25", "1.30", "1.34"])
def test_kubernetes_knows_every_field(tmp_path, values, version):
    for (kind, name), resource in resources(values).items():
        if kind != "ServiceMonitor":  # of the Prometheus operator, not of Kubernetes
            path = tmp_path / f"{kind}-{name}.yaml"
            path.write_text(yaml.safe_dump(resource))
            run("kubernetes-validate", "--strict", "-k", version, path)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"consortium": {"name": "Chests", "address": "hub.example.org"}},
        PLAIN | {"image": {"tag": "latest"}},
        PLAIN | {"database": {"url": "postgresql+psycopg://fedprint:hunter2@db.example.org/fedprint"}},
        PLAIN | {"networkPolicy": {"sites": []}},
        PLAIN | {"service": {"typ": "LoadBalancer"}},
    ],
)
def test_values_that_make_no_guarded_hub_are_refused(values):
    assert "error" in rendered(values)


@pytest.mark.parametrize("values", [PLAIN, FULL], ids=["plain", "full"])
def test_containers_have_no_privileges_and_write_only_their_volumes(values):
    pod = pod_of(values)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in (*pod["initContainers"], *pod["containers"]):
        guard = container["securityContext"]
        assert guard["readOnlyRootFilesystem"] is True
        assert guard["allowPrivilegeEscalation"] is False
        assert guard["capabilities"] == {"drop": ["ALL"]}
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/var/lib/fedprint", "/tmp"}


def test_only_the_public_port_leads_out_of_the_cluster():
    found = resources(FULL)
    services = {name: each["spec"] for (kind, name), each in found.items() if kind == "Service"}
    outward = services["demo-fedprint-hub"]
    assert [port["targetPort"] for port in outward["ports"]] == ["public"]
    assert outward["loadBalancerSourceRanges"] == ["203.0.113.0/24"]
    assert services["demo-fedprint-hub-inside"]["clusterIP"] == "None"
    ports = {port["name"]: port["containerPort"] for port in pod_of(FULL)["containers"][0]["ports"]}
    assert ports == {"public": 8443, "metrics": 9464}


def test_the_network_policy_lets_sites_in_at_the_public_port_and_monitoring_at_the_metrics():
    sites, monitoring = policy_of(FULL)["ingress"]
    assert [peer["ipBlock"]["cidr"] for peer in sites["from"]] == ["203.0.113.0/24", "198.51.100.7/32"]
    assert [port["port"] for port in sites["ports"]] == ["public"]
    assert [port["port"] for port in monitoring["ports"]] == ["metrics"]
    assert monitoring["from"][0]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "monitoring"
    }


def test_without_a_namespace_nobody_reaches_the_metrics_over_the_network():
    (only,) = policy_of(PLAIN)["ingress"]
    assert [port["port"] for port in only["ports"]] == ["public"]


def test_a_hub_calls_nobody_but_its_database():
    assert policy_of(PLAIN)["egress"] == []
    names, database = policy_of(FULL)["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert database["ports"] == [{"port": 5432, "protocol": "TCP"}]
    assert database["to"] == [{"ipBlock": {"cidr": "10.1.0.0/16"}}]


def test_the_database_password_comes_from_a_secret():
    for container in (*pod_of(FULL)["initContainers"], *pod_of(FULL)["containers"]):
        (password,) = [each for each in container["env"] if each["name"] == "PGPASSWORD"]
        assert password["valueFrom"]["secretKeyRef"] == {"name": "fedprint-database", "key": "password"}


def test_probes_ask_the_metrics_process():
    hub = pod_of(PLAIN)["containers"][0]
    asked = {kind: hub[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked["livenessProbe"] == {"path": "/health", "port": "metrics"}
    assert asked["readinessProbe"] == {"path": "/ready", "port": "metrics"}


def test_there_is_one_hub_whose_volume_stays():
    spec = resources(PLAIN)["StatefulSet", "demo-fedprint-hub"]["spec"]
    assert spec["replicas"] == 1
    assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["data"]
    claimed = resources(CLAIMED)["StatefulSet", "demo-fedprint-hub"]["spec"]
    assert "volumeClaimTemplates" not in claimed
    volumes = {each["name"]: each for each in claimed["template"]["spec"]["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"] == {"claimName": "kept"}


def test_metrics_are_monitored_where_that_is_asked_for():
    assert not [key for key in resources(PLAIN) if key[0] == "ServiceMonitor"]
    monitor = resources(FULL)["ServiceMonitor", "demo-fedprint-hub"]
    (service,) = [
        each
        for (kind, _), each in resources(FULL).items()
        if kind == "Service" and "app.kubernetes.io/component" in each["metadata"]["labels"]
    ]
    wanted = monitor["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_the_files_of_the_chart_are_yaml_and_of_the_version_of_the_project():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (DEPLOY.parent / "pyproject.toml").read_text()
    assert chart["appVersion"] == re.search(r'^version = "(.*)"', project, re.MULTILINE)[1]
    json.loads((CHART / "values.schema.json").read_text())
    assert yaml.safe_load((CHART / "values.yaml").read_text())["networkPolicy"]["enabled"] is True
