"""What stays of a round once its sum is open: enough for anybody to see who signed what, and no secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from federation.errors import FedprintError, MessageError, SurvivorsError
from federation.secagg import keys
from federation.secagg.checks import (
    check_advertisement,
    check_confirmation,
    check_directory,
    require_enough,
)
from federation.secagg.messages import Blobs, Body, Confirmations, Directory, Survivors
from federation.secagg.terms import Terms


@dataclass(frozen=True)
class Transcript:
    """Everything that sites signed in a round.

    Args:
        terms: What the round was about.
        directory: Everybody's keys, signed together with the terms.
        survivors: Whose vectors are in the sum, and who dropped out.
        confirmations: Signatures over the survivors, the keys and the terms.
    """

    terms: Terms
    directory: Directory
    survivors: Survivors
    confirmations: Confirmations

    def to_json(self) -> dict[str, Any]:
        """Return the transcript as JSON can hold it."""
        return {
            "terms": self.terms.to_json(),
            "directory": _message_json(self.directory.body(), self.directory.blobs()),
            "survivors": _message_json(self.survivors.body(), self.survivors.blobs()),
            "confirmations": _message_json(self.confirmations.body(), self.confirmations.blobs()),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` returned; no signature is verified.

        Raises:
            MessageError: If it is no such thing.
        """
        try:
            return cls(
                Terms.from_json(value["terms"]),
                Directory.from_parts(*_message_parts(value["directory"])),
                Survivors.from_parts(*_message_parts(value["survivors"])),
                Confirmations.from_parts(*_message_parts(value["confirmations"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError, FedprintError) as error:
            raise MessageError(
                "the transcript of a round is malformed", remedy="ask the aggregator for it again"
            ) from error

    def verify(self) -> None:
        """Raise unless all that a round must have had is signed, as every site checked while it ran.

        It shows who took part on which terms and whose contributions were summed; not what the sum is.

        Raises:
            RosterError: If the keys are not those of members.
            SignatureError: If a signature is not of these terms, keys and survivors.
            SurvivorsError: If the lists of sites contradict each other.
            CohortTooSmallError: If too few took part, contributed or confirmed.
        """
        terms, listed = self.terms, self.directory.advertisements
        check_directory(terms, self.directory)
        for site, advertisement in listed.items():
            check_advertisement(terms, site, advertisement)
        self._check_lists()
        message = keys.confirmed(keys.session_of(terms, self.directory), self.survivors)
        for site, signature in self.confirmations.signatures.items():
            check_confirmation(terms, site, signature, message)

    def _check_lists(self) -> None:
        alive, dead = set(self.survivors.alive), set(self.survivors.dead)
        confirmed = set(self.confirmations.signatures)
        odd = (alive & dead) | ((alive | dead) - set(self.directory.advertisements)) | (confirmed - alive)
        if odd:
            raise SurvivorsError(f"the transcript contradicts itself about {min(odd)}")
        require_enough(len(alive), self.terms.minimum, "sites contributed")
        require_enough(len(confirmed), self.terms.minimum, "sites confirmed the survivors")


def _message_json(body: Body, blobs: Blobs) -> dict[str, Any]:
    return {"body": dict(body), "blobs": {name: blob.hex() for name, blob in blobs.items()}}


def _message_parts(value: Mapping[str, Any]) -> tuple[Body, Blobs]:
    return value["body"], {name: bytes.fromhex(blob) for name, blob in value["blobs"].items()}
