import re
import tomllib

import pytest
import yaml
from deploy_tools import DEPLOY, run

ROOT = DEPLOY.parent
DOCKER = DEPLOY / "docker"
COMPOSE = {"hub": DEPLOY / "compose.yaml", "site": DEPLOY / "compose.site.yaml"}
ONLY_AT_SITES = {"torch", "torchvision", "timm", "opacus", "pydicom", "pillow", "scikit-learn"}


def instructions(text):
    """The instructions of a Dockerfile, one a line."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def stages():
    """Stage → its instructions."""
    found, name = {}, ""
    for line in instructions((DOCKER / "Dockerfile").read_text()):
        if line.startswith("FROM "):
            name = line.rpartition(" ")[2]
        found.setdefault(name, []).append(line)
    return found


def services(name):
    return yaml.safe_load(COMPOSE[name].read_text())["services"]


def name_of(requirement):
    return re.split(r"[<>=\[]", requirement)[0]


def test_hadolint_finds_nothing():
    assert run("hadolint", DOCKER / "Dockerfile") == ""


def test_base_images_are_of_one_version():
    bases = {line.split()[1] for lines in stages().values() for line in lines if line.startswith("FROM ")}
    outside = bases - set(stages())
    assert len(outside) == 1
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-[a-z]+", outside.pop())


@pytest.mark.parametrize("stage", ["hub", "site"])
def test_an_image_runs_as_nobody_in_particular_and_holds_no_tools_of_the_build(stage):
    known = stages()
    assert known[stage][0] == f"FROM runtime AS {stage}"
    (user,) = [line for line in known["runtime"] if line.startswith("USER ")]
    assert user == "USER 10001:10001"
    copied = [line for line in known[stage] if line.startswith("COPY ")]
    assert copied == [f"COPY --from={stage}-packages /opt/fedprint /opt/fedprint"]
    assert not [line for line in known[stage] if line.startswith(("USER", "RUN", "ADD"))]


def test_the_hub_publishes_one_port_and_a_site_none():
    exposed = {
        stage: [line for line in lines if line.startswith("EXPOSE")] for stage, lines in stages().items()
    }
    assert exposed["hub"] == ["EXPOSE 8000"]
    assert not exposed["site"]


def test_only_what_is_installed_enters_the_build():
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    assert {"**/*.key", "**/*.pem", "**/*.sqlite*"} <= set(rules)
    for line in instructions((DOCKER / "Dockerfile").read_text()):
        if line.startswith("COPY ") and "--from" not in line:
            assert all((ROOT / source).exists() for source in line.split()[1:-1])


def test_nothing_is_named_that_looks_like_a_secret():
    for path in (DOCKER / "Dockerfile", *COMPOSE.values()):
        for line in path.read_text().splitlines():
            assert not re.search(
                r"(?i)(password|secret|token|key)\w*\s*[:=]\s*[\"']?[A-Za-z0-9+][A-Za-z0-9+/]{11,}", line
            )


def test_the_hub_needs_what_the_project_needs_less_what_only_sites_import():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = set(project["dependencies"]) | set(project["optional-dependencies"]["postgresql"])
    listed = (DOCKER / "requirements-hub.txt").read_text().splitlines()
    wanted = {each for each in needed if name_of(each) not in ONLY_AT_SITES}
    assert {line for line in listed if not line.startswith("#")} == wanted


def test_an_aggregator_imports_nothing_that_its_image_lacks():
    modules = {"torch": "torch", "PIL": "pillow", "sklearn": "scikit-learn"} | {
        name: name for name in ("torchvision", "timm", "opacus", "pydicom")
    }
    assert set(modules.values()) == ONLY_AT_SITES
    pattern = re.compile(rf"^\s*(?:import|from) ({'|'.join(modules)})\b", re.MULTILINE)
    for package in ("federation", "aggregator"):
        for path in (ROOT / package).rglob("*.py"):
            assert not pattern.search(path.read_text()), path


def test_every_version_is_pinned_and_none_is_local():
    lines = (DOCKER / "constraints.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", line) for line in pinned)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {name_of(each).lower().replace("_", "-") for each in project["dependencies"]}
    assert needed <= {line.partition("==")[0] for line in pinned}
    assert "flwr==1.41.0" in pinned


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_understands_the_file(name):
    environment = {"FEDPRINT_IMAGES": "/srv/images"}
    run("docker-compose", "-f", COMPOSE[name], "--profile", "*", "config", "-q", environment=environment)


@pytest.mark.parametrize("name", COMPOSE)
def test_every_service_is_confined(name):
    for service in services(name).values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
        assert all("noexec" in mount for mount in service["tmpfs"])
        assert re.search(r":\d+\.\d+[.\w-]*$", service["image"])


def test_only_the_public_port_is_published():
    published = {name: service.get("ports", []) for name, service in services("hub").items()}
    assert published == {"hub": ["8000:8000"], "database": []}
    networks = yaml.safe_load(COMPOSE["hub"].read_text())["networks"]
    assert services("hub")["database"]["networks"] == ["inside"]
    assert networks["inside"] == {"internal": True}
    assert "ports" not in services("site")["site"]


def test_images_can_be_read_and_not_changed():
    (images,) = [mount for mount in services("site")["site"]["volumes"] if isinstance(mount, dict)]
    assert images["read_only"] is True


def test_the_database_password_comes_from_a_file():
    environment = services("hub")["database"]["environment"]
    assert environment["POSTGRES_PASSWORD_FILE"] == "/run/secrets/database-password"
    assert "POSTGRES_PASSWORD" not in environment
