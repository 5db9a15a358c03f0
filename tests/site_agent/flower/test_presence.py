from itertools import islice

from site_agent.flower.environment import for_clientapp, for_flower
from site_agent.flower.pauses import IdlePauses, reconnecting_pauses
from site_agent.flower.presence import Presence, Unanswered
from site_agent.flower.reply_codes import INTERNAL, reason_of


def test_a_crash_leaves_the_id_of_the_node_and_an_orderly_end_does_not(tmp_path):
    presence = Presence(tmp_path / "online.json", "here")
    assert presence.left_by_a_crash() is None
    presence.began(2**64 - 1)
    assert Presence(tmp_path / "online.json", "here").left_by_a_crash() == 2**64 - 1
    presence.ended()
    assert presence.left_by_a_crash() is None


def test_a_folder_copied_to_another_machine_does_not_push_out_the_first(tmp_path):
    Presence(tmp_path / "online.json", "here").began(7)
    assert Presence(tmp_path / "online.json", "there").left_by_a_crash() is None


def test_a_message_is_noted_until_it_is_answered(tmp_path):
    unanswered = Unanswered(tmp_path / "unanswered")
    assert unanswered.read() is None
    unanswered.note(b"message")
    assert Unanswered(tmp_path / "unanswered").read() == b"message"
    unanswered.clear()
    assert unanswered.read() is None


def test_pauses_are_short_after_a_message_and_longer_when_it_is_quiet():
    now = [0.0]
    pauses = IdlePauses(lambda: now[0])
    assert all(0.3 < pauses.next() < 0.7 for _ in range(50))
    now[0] = 3600.0
    assert all(2 < pauses.next() < 4 for _ in range(50))


def test_attempts_to_connect_have_no_end_and_no_common_beat():
    first, second = list(islice(reconnecting_pauses(), 200)), list(islice(reconnecting_pauses(), 200))
    assert first != second
    assert max(first) < 40
    assert min(first[10:]) > 20


def test_only_codes_leave_as_reasons():
    assert reason_of(100, "policy") == "policy"
    assert reason_of(100, "/data/patients/Miller.dcm") == INTERNAL
    assert reason_of(100, None) == INTERNAL
    assert reason_of(2, "<class 'ValueError'>:<'Miller'>") == INTERNAL
    assert reason_of(7, "The FAB could not be verified.") == "bundle-not-approved"
    assert reason_of(4711, "Miller") == INTERNAL


def test_a_clientapp_gets_what_it_needs_and_no_secret(tmp_path):
    service = {
        "PATH": "/bin", "HOME": "/srv/fp", "CUDA_VISIBLE_DEVICES": "1", "HTTPS_PROXY": "http://proxy:3128",
        "AWS_SECRET_ACCESS_KEY": "x", "FEDPRINT_LOG": "json",
    }  # fmt: skip
    given = for_clientapp(service)
    assert "AWS_SECRET_ACCESS_KEY" not in given
    assert (given["PATH"], given["CUDA_VISIBLE_DEVICES"]) == ("/bin", "1")
    assert given["XDG_CACHE_HOME"] == "/srv/fp/.cache"
    assert given["FLWR_TELEMETRY_ENABLED"] == "0"


def test_what_stays_on_the_machine_does_not_go_through_a_proxy(tmp_path):
    given = for_flower({"no_proxy": "intranet"}, tmp_path)
    assert given["NO_PROXY"] == given["no_proxy"] == "intranet,127.0.0.1,localhost,::1"
