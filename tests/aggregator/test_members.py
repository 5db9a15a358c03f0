import pytest
from memberships import DAY, HUB, NOW, membership, new_identity, put, revoke

from aggregator.config import HubConfig
from aggregator.members import Standing, list_members, read_members
from federation.errors import ConfigError, StoreError


def standing(folder, now=NOW):
    return {m.site: m.standing for m in list_members(folder, HUB.public_key, now)}


def test_members_are_read_by_site(tmp_path):
    for site in ("anna", "cork.revoked"):
        put(tmp_path, membership(site=site))
    found = read_members(tmp_path, HUB.public_key, NOW)
    assert found == {site: found[site] for site in ("anna", "cork.revoked")}
    assert found["anna"].identity_key == "ab" * 32


def test_a_folder_that_does_not_exist_has_no_members(tmp_path):
    assert read_members(tmp_path / "members", HUB.public_key, NOW) == {}


def test_a_membership_counts_from_its_first_second_to_the_last_before_its_end(tmp_path):
    put(tmp_path, membership(valid_from=NOW, valid_until=NOW + DAY))
    for now, expected in (
        (NOW - 0.1, Standing.NOT_YET),
        (NOW, Standing.VALID),
        (NOW + DAY - 0.1, Standing.VALID),
        (NOW + DAY, Standing.EXPIRED),
    ):
        assert standing(tmp_path, now) == {"anna": expected}
        assert ("anna" in read_members(tmp_path, HUB.public_key, now)) == (expected is Standing.VALID)


def test_a_revoked_membership_does_not_count_and_a_later_one_does(tmp_path):
    put(tmp_path, membership(serial=2))
    revoke(tmp_path, "anna", 2)
    assert standing(tmp_path) == {"anna": Standing.REVOKED}
    assert read_members(tmp_path, HUB.public_key, NOW) == {}
    put(tmp_path, membership(serial=3))
    assert standing(tmp_path) == {"anna": Standing.VALID}


def test_a_damaged_revocation_still_revokes(tmp_path):
    put(tmp_path, membership())
    revoke(tmp_path, "anna", 1, hub=new_identity("stranger"))
    assert standing(tmp_path) == {"anna": Standing.REVOKED}
    (tmp_path / "revoked" / "anna.json").write_bytes(b"")
    assert standing(tmp_path) == {"anna": Standing.REVOKED}


def test_the_revocation_of_another_site_put_in_its_place_still_revokes(tmp_path):
    put(tmp_path, membership())
    revoke(tmp_path, "cork", 1)
    (tmp_path / "revoked" / "cork.json").rename(tmp_path / "revoked" / "anna.json")
    assert standing(tmp_path) == {"anna": Standing.REVOKED}


def test_a_membership_of_another_hub_is_left_out_with_a_warning(tmp_path, caplog):
    put(tmp_path, membership(new_identity("stranger")))
    assert read_members(tmp_path, HUB.public_key, NOW) == {}
    assert "member anna is left out" in caplog.text


def test_a_membership_under_another_sites_name_is_left_out(tmp_path):
    put(tmp_path, membership())
    (tmp_path / "anna.json").rename(tmp_path / "cork.json")
    assert standing(tmp_path) == {"cork": Standing.UNUSABLE}


def test_files_that_are_half_written_are_no_members(tmp_path):
    (tmp_path / ".anna.json.tmp").write_bytes(b"{")
    (tmp_path / ".anna.json").write_bytes(b"{")
    assert standing(tmp_path) == {}


def hub_file(tmp_path, text):
    path = tmp_path / "hub.toml"
    path.write_text(f'consortium = "Hearts"\n{text}\n')
    return path


def with_key(tmp_path):
    (tmp_path / "hub.key").write_text(HUB.private_key.private_bytes_raw().hex())


def test_a_hub_file_takes_its_roster_from_the_members_folder(tmp_path):
    path = hub_file(tmp_path, 'members = "members"')
    with_key(tmp_path)
    assert HubConfig.read(path, NOW).roster == {}
    put(tmp_path / "members", membership())
    put(tmp_path / "members", membership(site="cork", valid_until=NOW))
    assert HubConfig.read(path, NOW).roster == {"anna": "ab" * 32}


def test_a_hub_whose_key_is_missing_reads_no_members_and_makes_no_key(tmp_path):
    path = hub_file(tmp_path, 'members = "members"')
    with pytest.raises(StoreError, match=r"hub\.key"):
        HubConfig.read(path, NOW)
    assert not (tmp_path / "hub.key").exists()


@pytest.mark.parametrize(
    "text", ["", f'members = "members"\n[[site]]\nname = "anna"\npublic_key = "{"ab" * 32}"']
)
def test_a_hub_file_names_its_sites_exactly_once(tmp_path, text):
    with pytest.raises(ConfigError, match="name its sites once"):
        HubConfig.read(hub_file(tmp_path, text))


COHORT = (
    '[[cohort]]\nname = "{}"\ntask = "cxr"\nsites = ["anna", "cork", "oslo"]\n'
    "eps = 1.0\ndelta = 1e-6\nimages_per_patient = 1"
)


def test_a_cohort_may_name_a_site_that_is_no_member_today(tmp_path):
    path = hub_file(tmp_path, 'members = "members"\n' + COHORT.format("chests"))
    with_key(tmp_path)
    assert [cohort.name for cohort in HubConfig.read(path, NOW).cohort] == ["chests"]


def test_a_cohort_with_the_name_of_a_member_is_refused(tmp_path):
    path = hub_file(tmp_path, 'members = "members"\n' + COHORT.format("bern"))
    with_key(tmp_path)
    put(tmp_path / "members", membership(site="bern"))
    with pytest.raises(ConfigError, match="has the name of a site"):
        HubConfig.read(path, NOW)
