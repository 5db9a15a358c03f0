import hashlib
import os

import pytest

from federation.app_bundle import MAXIMUM_BYTES, bundle_bytes, bundle_hash
from federation.errors import BundleError
from site_agent.bundle_view import describe
from site_agent.bundles import APPROVED, MAXIMUM_WAITING, REFUSED, REVOKED, Bundles
from site_agent.site_folder import SiteFolder
from site_agent.state import SiteState


@pytest.fixture
def folder(tmp_path):
    return SiteFolder(tmp_path)


@pytest.fixture
def bundles(folder):
    return Bundles(folder, SiteState(folder.state))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def events(folder):
    return [event["event"] for event in SiteState(folder.state).events()]


def test_nothing_is_admitted_before_somebody_approves_it(bundles):
    assert not bundles.admits(bundle_bytes(), bundle_hash())
    bundles.approve(bundle_bytes())
    assert bundles.admits(bundle_bytes(), bundle_hash())


def test_a_bundle_under_the_name_of_an_approved_one_is_not_admitted(bundles):
    bundles.approve(bundle_bytes())
    assert not bundles.admits(b"something else", bundle_hash())


@pytest.mark.parametrize("digest", ["", "../state/identity.key", "none", "a" * 63, "A" * 64])
def test_a_name_that_is_no_hash_is_not_admitted(bundles, digest):
    assert not bundles.admits(b"x", digest)
    with pytest.raises(BundleError):
        bundles.read(digest)


def test_an_approved_bundle_that_was_altered_is_admitted_no_longer(bundles, folder):
    bundles.approve(b"good")
    path = folder.approved_bundles / f"{sha256(b'good')}.fab"
    path.write_bytes(b"evil")
    assert not bundles.admits(b"good", sha256(b"good"))
    assert not bundles.admits(b"evil", sha256(b"good"))
    assert not bundles.admits(b"evil", sha256(b"evil"))
    with pytest.raises(BundleError, match="was altered"):
        bundles.read(sha256(b"good"))


def test_a_revoked_bundle_is_admitted_no_longer(bundles, folder):
    bundles.approve(b"good")
    bundles.revoke(sha256(b"good"))
    assert not bundles.admits(b"good", sha256(b"good"))
    assert events(folder) == [APPROVED, REVOKED]
    with pytest.raises(BundleError, match="not approved"):
        bundles.revoke(sha256(b"good"))


def test_a_refused_bundle_waits_until_it_is_approved(bundles, folder):
    digest = bundles.keep_waiting(b"new")
    assert bundles.keep_waiting(b"new") == digest
    assert [each.digest for each in bundles.waiting()] == [digest]
    assert bundles.read(digest) == b"new"
    assert events(folder) == [REFUSED]
    bundles.approve(b"new")
    assert bundles.waiting() == []
    assert [each.digest for each in bundles.approved()] == [digest]


def test_few_bundles_wait_and_the_newest_are_kept(bundles, folder):
    for i in range(MAXIMUM_WAITING + 3):
        digest = bundles.keep_waiting(bytes([i]))
        os.utime(folder.waiting_bundles / f"{digest}.fab", (1000 + i, 1000 + i))
    kept = [bundles.read(each.digest)[0] for each in bundles.waiting()]
    assert kept == list(range(MAXIMUM_WAITING + 2, 2, -1))


def test_a_bundle_that_is_too_large_is_recorded_but_not_kept(bundles, folder):
    digest = bundles.keep_waiting(bytes(MAXIMUM_BYTES + 1))
    assert bundles.waiting() == []
    (event,) = SiteState(folder.state).events()
    assert (event["bundle"], event["kept"]) == (digest, False)


def test_the_beginning_of_a_hash_is_enough_if_it_is_of_one_bundle(bundles):
    digest = bundles.keep_waiting(b"new")
    assert bundles.complete(digest[:8]) == digest
    with pytest.raises(BundleError, match="0 app bundles"):
        bundles.complete("z")


def test_the_installed_bundle_is_shown_without_a_difference(bundles):
    lines = describe(bundle_bytes(), bundles)
    assert "No difference from what the installed fedprint would build." in lines
    assert "No bundle was approved here before." in lines
    assert any("site_agent.client_app" in line for line in lines)


def test_a_difference_from_the_last_approved_bundle_is_shown(bundles):
    bundles.approve(bundle_bytes())
    assert describe(bundle_bytes(), bundles)[-1].startswith("No difference from the last approved one")


def test_what_is_shown_cannot_move_the_cursor(bundles):
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", "harmless\x1b[2K\rimport os\u202e\n" + "x" * 1000)
    shown = describe(packed.getvalue(), bundles)
    assert all(character.isprintable() or character == "\t" for line in shown for character in line)
    assert any("harmless\\x1b[2K" in line for line in shown)
    assert max(map(len, shown)) < 500


def test_what_is_no_archive_cannot_be_shown(bundles):
    with pytest.raises(BundleError, match="no readable archive"):
        describe(b"new", bundles)
