import threading

import pytest

from federation.errors import BusyError, FedprintError, StoreError
from federation.operations.part import Part
from federation.operations.readings import Readings


def fail(error):
    raise error


def test_a_part_is_read_anew_every_time():
    values = iter((1, 2))
    part = Part("numbers", lambda: next(values))
    assert (part.value(), part.value()) == (1, 2)


def test_an_expected_error_is_passed_on():
    with pytest.raises(StoreError, match="damaged"):
        Part("store", lambda: fail(StoreError("damaged"))).value()


def test_an_unexpected_error_says_nothing_of_its_text():
    with pytest.raises(FedprintError, match="store cannot be read") as caught:
        Part("store", lambda: fail(ValueError("patient-17.png"))).value()
    assert "patient" not in str(caught.value)
    assert caught.value.code == "internal"


def test_who_reads_for_too_long_is_left_behind_and_read_by_nobody_else_meanwhile():
    go, begun = threading.Event(), []

    def read():
        begun.append(1)
        go.wait()
        return "read"

    part = Part("slow", read, patience_s=0.01)
    for _ in range(3):
        with pytest.raises(BusyError, match="within"):
            part.value()
    assert begun == [1]
    go.set()
    part._thread.join()
    assert part.value() == "read"


def test_what_fails_is_named_and_the_rest_is_read():
    readings = Readings()
    bad = Part("ledger", lambda: fail(StoreError("line 3 of the ledger", remedy="restore it")))
    assert readings.of(bad) is None
    assert readings.of(Part("disk", lambda: 5)) == 5
    assert readings.codes == {"ledger": "store"}
    assert readings.to_json() == {"ledger": {"code": "store", "text": "line 3 of the ledger → restore it"}}
