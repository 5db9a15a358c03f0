"""What is under seal: for sites and grids of tests that open and seal, and for looking at what was said."""

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace

from flwr.app import Message, RecordDict

from deploy.inprocess import Sent
from federation import sealed_record
from federation.envelope import Envelope
from federation.identity import Identity
from federation.messages import JobHeader
from federation.sealed_record import ReplyKey, open_request, seal_reply
from federation.sealing import Sealed

REPLY_KEY = ReplyKey()
"""For tests that ask sites themselves."""

_MOST_BYTES = 2**29
_contents: OrderedDict[bytes, bytes] = OrderedDict()
_seal = sealed_record.seal


def _seal_and_remember(content: bytes, recipients: list[bytes], purpose: bytes) -> Sealed:
    sealed = _seal(content, recipients, purpose)
    _contents[hashlib.sha256(sealed.content).digest()] = content
    while sum(map(len, _contents.values())) > _MOST_BYTES:
        _contents.popitem(last=False)
    return sealed


sealed_record.seal = _seal_and_remember


def content_of(record: RecordDict) -> bytes:
    """The bytes that went under seal into a record; KeyError where nothing in this process sealed it."""
    assert set(record) == {"sealed"}
    return _contents[hashlib.sha256(record["sealed"]["content"].data).digest()]


def plain(record: RecordDict) -> RecordDict:
    """The record that was sealed, whoever it was sealed for."""
    return sealed_record._unpacked(content_of(record))


def opened(sent: Iterable[Sent]) -> list[Sent]:
    """What was said in messages that crossed the wire: their blobs are what went under seal."""
    return [_opened(each) for each in sent]


def _opened(sent: Sent) -> Sent:
    if sent.message.has_error():
        return sent
    message = copy.copy(sent.message)
    message.content = plain(sent.message.content)
    assert message.content is not sent.message.content
    return replace(sent, message=message, blobs=(content_of(sent.message.content),))


def heard(message: Message, identity: Identity) -> RecordDict:
    """What a site reads in a request."""
    return open_request(message.content, identity)


def job_of(message: Message, identity: Identity) -> JobHeader:
    """The header of a request, as a site reads it."""
    record = heard(message, identity)
    return JobHeader.from_table(Envelope.from_record(Envelope.kind_of(record), record).body["job"])


def answering(message: Message, identity: Identity, record: RecordDict) -> Message:
    """The message in which a site answers a request with a signed record."""
    return Message(seal_reply(record, job_of(message, identity)), reply_to=message)
