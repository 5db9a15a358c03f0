import logging

from site_agent.flower.link_status import LinkStatus, read_link


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_a_reader_sees_connection_and_loss(tmp_path):
    clock, path = Clock(), tmp_path / "status.json"
    status = LinkStatus(path, clock)
    status.connected()
    assert (read_link(path, 1001).connected, read_link(path, 1001).since) == (True, 1000)
    clock.now = 1010
    status.lost("the cable is out")
    link = read_link(path, 1011)
    assert (link.connected, link.since, link.last_error) == (False, 1010, "the cable is out")
    status.waiting(3)
    assert read_link(path, 1012).waiting_bundles == 3


def test_a_loss_is_logged_once_until_it_changes(tmp_path, caplog):
    status = LinkStatus(tmp_path / "status.json")
    with caplog.at_level(logging.INFO, "fedprint.site"):
        for why in ("the cable is out", "the cable is out", "the hub is down", "the hub is down"):
            status.lost(why)
        status.connected()
        status.connected()
        status.lost("the hub is down")
    assert [record.message for record in caplog.records] == [
        "not connected to the hub: the cable is out",
        "not connected to the hub: the hub is down",
        "connected to the hub",
        "not connected to the hub: the hub is down",
    ]


def test_a_loss_goes_on_since_its_beginning(tmp_path):
    clock, path = Clock(), tmp_path / "status.json"
    status = LinkStatus(path, clock)
    status.connected()
    for now in (1010, 1020, 1030):
        clock.now = now
        status.lost("the cable is out")
    assert read_link(path, 1031).since == 1010


def test_a_connection_that_nobody_confirms_counts_as_lost(tmp_path):
    clock, path = Clock(), tmp_path / "status.json"
    status = LinkStatus(path, clock)
    status.connected()
    assert not read_link(path, 1200).connected
    clock.now = 1100
    status.refresh()
    assert read_link(path, 1150).connected


def test_a_missing_or_damaged_status_says_that_nothing_ran(tmp_path):
    path = tmp_path / "status.json"
    assert "has not run" in read_link(path, 0).last_error
    path.write_text('{"connected": tr')
    assert not read_link(path, 0).connected
    path.write_text('{"strange": true}')
    assert not read_link(path, 0).connected
