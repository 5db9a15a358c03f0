import io
import zipfile

import pytest
from flwr.cli.build import build_fab_from_disk
from flwr.cli.config_utils import get_fab_metadata, load_and_validate
from flwr.cli.install import install_from_fab
from flwr.supercore.object_ref import load_app

from federation import __version__
from federation.app_bundle import build_bundle, bundle_bytes, bundle_files, bundle_hash
from federation.errors import BundleError

NAMES = {"pyproject.toml", "fedprint_app_hub.py", "fedprint_app_site.py"}


def packed(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_the_bundle_holds_three_short_files():
    files = bundle_files(bundle_bytes())
    assert set(files) == NAMES
    assert sum(len(content.splitlines()) for content in files.values()) < 50
    assert f'"fedprint=={__version__}"'.encode() in files["pyproject.toml"]


def test_its_modules_only_import_what_is_installed():
    files = bundle_files(bundle_bytes())
    code = {
        name: content.decode().split('"""')[2].split() for name, content in files.items() if ".py" in name
    }
    assert code["fedprint_app_hub.py"][:4] == ["from", "aggregator.server_app", "import", "app"]
    assert code["fedprint_app_site.py"][:4] == ["from", "site_agent.client_app", "import", "app"]


def test_the_same_version_makes_the_same_bytes():
    assert bundle_bytes() == bundle_bytes()
    assert len(bundle_hash()) == 64


def test_the_bytes_do_not_depend_on_a_compression_library():
    with zipfile.ZipFile(io.BytesIO(bundle_bytes())) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_flower_builds_the_same_files_from_the_project(tmp_path):
    built = bundle_files(build_fab_from_disk(build_bundle(tmp_path / "fedprint-app")))
    ours = bundle_files(bundle_bytes())
    assert set(built) == set(ours)
    assert {name: built[name] for name in NAMES - {"pyproject.toml"}} == {
        name: ours[name] for name in NAMES - {"pyproject.toml"}
    }


def test_flower_accepts_the_project_and_its_components(tmp_path):
    config, warnings = load_and_validate(build_bundle(tmp_path / "fedprint-app") / "pyproject.toml")
    assert warnings == []
    assert config["tool"]["flwr"]["app"]["config"]["job"] == "fingerprint"


def test_flower_installs_the_bundle_and_finds_the_apps_of_the_installed_package(tmp_path):
    bundle = bundle_bytes()
    assert get_fab_metadata(bundle) == ("fedprint/fedprint-app", __version__)
    folder = install_from_fab(bundle, tmp_path, skip_prompt=True)
    from aggregator.server_app import app

    assert load_app("fedprint_app_hub:app", RuntimeError, folder) is app


@pytest.mark.parametrize(
    "strange",
    [
        b"no archive",
        bundle_bytes()[:-30],
        packed({"a\x1b[2J.py": b""}),
        packed({"large.py": bytes(2_000_000)}),
        packed({f"{k}.py": b"" for k in range(101)}),
    ],
)
def test_a_bundle_that_cannot_be_shown_is_refused(strange):
    with pytest.raises(BundleError, match="app bundle"):
        bundle_files(strange)
