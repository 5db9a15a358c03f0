"""An aggregator cannot fill a site's disk: what can be made again gives way, and nothing more is begun."""

import os

import pytest
from transfer_site import train, write_transfer_site

from federation.errors import StoreError
from site_agent.transfer.room import require_room

MIB = 2**20


def keep(folder, name, age, size=MIB):
    """A folder with a file of random numbers, last used some seconds ago."""
    place = folder / name
    place.mkdir(parents=True)
    (place / "rows.npy").write_bytes(os.urandom(size))
    os.utime(place, (1e9 - age, 1e9 - age))
    return place


def test_decoded_images_that_were_not_used_lately_give_way(tmp_path):
    places = [keep(tmp_path / "images", f"size-{age}", age) for age in (40, 30, 20, 10)]
    require_room(tmp_path, 5 * MIB, begins=True)
    assert all(place.exists() for place in places)
    require_room(tmp_path, 3 * MIB + MIB // 2, begins=True)
    assert [place.exists() for place in places] == [False, True, True, True]


def test_what_the_running_step_uses_stays(tmp_path):
    places = [keep(tmp_path / "images", f"size-{age}", age) for age in (30, 20, 10)]
    with pytest.raises(StoreError, match="work_mb"):
        require_room(tmp_path, MIB, begins=False)
    assert [place.exists() for place in places] == [False, True, True]


def test_a_hole_in_a_file_takes_no_room(tmp_path):
    place = keep(tmp_path / "images", "size", 1, size=1)
    os.truncate(place / "rows.npy", 100 * MIB)
    require_room(tmp_path, MIB, begins=True)


def test_nothing_is_begun_where_steps_and_groups_fill_the_disk_and_what_runs_goes_on(tmp_path):
    anna = write_transfer_site(tmp_path / "anna", settings={"work_mb": 1})
    running = train(seed=1)
    assert anna.ask(running).state == "running"
    group = keep(anna.site.state.folder / "transfer" / "groups", "ab" * 32, 0, size=2 * MIB)
    refused = train(seed=2)
    assert anna.ask(refused).state == "store"
    assert not (anna.site.state.folder / "transfer" / refused.step_id).exists()
    assert anna.finish(running)[-1].state == "done"
    (group / "rows.npy").unlink()
    assert anna.finish(refused)[-1].state == "done"
