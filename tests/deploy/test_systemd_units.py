import configparser
import shutil

import pytest
from deploy_tools import DEPLOY, run

from federation.supervisor import EX_CONFIG

UNITS = DEPLOY / "systemd"
NAMES = ("fedprint-hub", "fedprint-site")


def service(path):
    """Setting → values of the section Service."""
    parser = configparser.RawConfigParser(strict=False, dict_type=_Lists, empty_lines_in_values=False)
    parser.optionxform = str
    parser.read_string(path.read_text())
    return {key: value.splitlines() for key, value in parser.items("Service")}


class _Lists(dict):
    """A setting that is given twice has both values, as in systemd."""

    def __setitem__(self, key, value):
        if isinstance(value, list) and isinstance(self.get(key), list):
            value = self[key] + value
        super().__setitem__(key, value)


@pytest.mark.parametrize("name", NAMES)
def test_systemd_understands_the_unit(tmp_path, name):
    unit = tmp_path / f"{name}.service"
    unit.write_text((UNITS / unit.name).read_text().replace("/opt/fedprint/bin/fedprint", "/bin/true"))
    run("systemd-analyze", "verify", "--man=no", unit)


@pytest.mark.parametrize("name", NAMES)
def test_systemd_understands_the_unit_with_everything_that_can_be_added(tmp_path, name):
    unit = tmp_path / f"{name}.service"
    unit.write_text((UNITS / unit.name).read_text().replace("/opt/fedprint/bin/fedprint", "/bin/true"))
    (tmp_path / f"{name}.service.d").mkdir()
    for example in (UNITS / f"{name}.service.d").glob("*.conf.example"):
        shutil.copy(example, tmp_path / f"{name}.service.d" / example.stem)
    run("systemd-analyze", "verify", "--man=no", unit)


@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_little_exposed(name):
    run(
        "systemd-analyze",
        "security",
        "--offline=yes",
        "--no-pager",
        "--threshold=15",
        UNITS / f"{name}.service",
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_service_has_no_privileges_and_writes_only_its_own_folder(name):
    told = service(UNITS / f"{name}.service")
    assert told["User"] == [name]
    assert (told["NoNewPrivileges"], told["CapabilityBoundingSet"]) == (["yes"], [])
    assert (told["ProtectSystem"], told["ProtectHome"]) == (["strict"], ["yes"])
    assert told["StateDirectory"] == [name]
    assert told["StateDirectoryMode"] == ["0700"]
    assert "ReadWritePaths" not in told


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_that_is_refused_is_not_tried_again(name):
    told = service(UNITS / f"{name}.service")
    assert told["Restart"] == ["on-failure"]
    assert told["RestartPreventExitStatus"] == [str(EX_CONFIG)]


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_on_the_command_line(name):
    side = name.removeprefix("fedprint-")
    (command,) = service(UNITS / f"{name}.service")["ExecStart"]
    assert command == f"/opt/fedprint/bin/fedprint {side} serve /var/lib/{name} --json-logs"


def test_users_have_no_shell():
    lines = [line for line in (UNITS / "fedprint.sysusers").read_text().splitlines() if line[0] != "#"]
    assert [line.split()[1] for line in lines] == list(NAMES)
    assert all(line.endswith("/usr/sbin/nologin") for line in lines)
