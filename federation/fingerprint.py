"""A signed fingerprint: sketches of a task, its card, its space, its privacy statement, its provenance.

On disk and on the wire a fingerprint is one container: canonical JSON header, signature, arrays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from federation.canonical import canonical_json, sha256_hex
from federation.container import pack, unpack, unpack_header, unpack_shapes
from federation.errors import FingerprintError, SpaceMismatchError
from federation.identity import Identity, verify
from federation.names import check_name, task_key
from federation.privacy.statement import PrivacyStatement
from federation.sampling import SamplingPlan
from federation.sketches import HistogramSketch, Sketch, decode_sketch, encode_arrays
from federation.sketches.base import Noise
from federation.space import Space
from federation.task_card import TaskCard

SCHEMA = 1
Decoder: TypeAlias = Callable[[Sequence[str], Noise], Mapping[str, Sketch]]
"""Kinds of sketches and the noise in them → the sketches."""
_DOMAIN = b"fedprint fingerprint 1\n"


@dataclass(frozen=True)
class Provenance:
    """How a fingerprint was made.

    Args:
        fedprint: Version of the software.
        sampling: Which images were drawn.
        arithmetic: Number format and execution of the network, for example ``"float32 folded"``.
        n_unreadable: Number of drawn images that could not be read and were left out; None where that is
            not told.
    """

    fedprint: str
    sampling: SamplingPlan
    arithmetic: str
    n_unreadable: int | None = 0


@dataclass(frozen=True)
class Fingerprint:
    """What a site releases about one task.

    Args:
        site: Name of the site.
        card: Public description of the task.
        space_id: The space its sketches live in.
        sketches: Sketch kind → sketch.
        privacy: What protects the patients.
        provenance: How it was made.
        signature: Ed25519 signature of the site, empty before signing.
        shapes: ``kind.array`` → shape of that array, of a noisy fingerprint that was read without its
            sketches.
    """

    site: str
    card: TaskCard
    space_id: str
    sketches: Mapping[str, Sketch]
    privacy: PrivacyStatement
    provenance: Provenance
    signature: bytes = b""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_name("site", self.site)

    @property
    def key(self) -> str:
        """Address of the task in the consortium: ``site/task``."""
        return task_key(self.site, self.card.task)

    @cached_property
    def fingerprint_id(self) -> str:
        """SHA-256 of the signed content."""
        return sha256_hex(self._signed_bytes)

    @property
    def histogram(self) -> HistogramSketch:
        """The histogram sketch.

        Raises:
            FingerprintError: If the fingerprint carries none.
        """
        sketch = self.sketches.get(HistogramSketch.kind)
        if not isinstance(sketch, HistogramSketch):
            raise FingerprintError(f"the fingerprint of {self.key} carries no histogram")
        return sketch

    def signed_by(self, identity: Identity) -> "Fingerprint":
        """Return the fingerprint with the site's signature."""
        return replace(self, signature=identity.sign(self._signed_bytes))

    def verify(self, public_key: str) -> None:
        """Raise unless the site with this public key signed exactly this content.

        Raises:
            SignatureError: If it did not.
        """
        verify(public_key, self.signature, self._signed_bytes, f"fingerprint {self.key}")

    def bind(self, space: Space) -> "Fingerprint":
        """Return the fingerprint with its space's parameters attached to its sketches.

        Raises:
            SpaceMismatchError: If it was made in another space, has another shape or other kinds of sketches.
        """
        if self.space_id != space.space_id:
            raise SpaceMismatchError(
                f"fingerprint {self.key} lives in space {self.space_id[:12]}, not in "
                f"{space.space_id[:12]} ({space.name})",
                remedy="fingerprint the task again in that space",
            )
        if set(self.sketches) != set(space.sketches):
            raise SpaceMismatchError(
                f"fingerprint {self.key} carries the sketches {sorted(self.sketches)}, its space asks for "
                f"{sorted(space.sketches)}",
                remedy="fingerprint the task again in that space",
            )
        return replace(self, sketches={kind: sketch.bind(space) for kind, sketch in self.sketches.items()})

    def to_bytes(self) -> bytes:
        """Return the one valid encoding of the fingerprint."""
        return pack({"header": self._header, "signature": self.signature.hex()}, self._tensors)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Fingerprint":
        """Read a fingerprint; its signature is not checked here.

        Raises:
            FingerprintError: If the bytes are truncated, altered or no fingerprint.
        """
        container, arrays = unpack(data, "fingerprint")
        fingerprint = _parse(
            container, lambda kinds, noise: {kind: decode_sketch(kind, arrays, noise) for kind in kinds}
        )
        if fingerprint.to_bytes() != data:
            raise FingerprintError(
                f"fingerprint {fingerprint.key} does not match its own header",
                remedy="ask the site to send it again",
            )
        return fingerprint

    @classmethod
    def from_head(cls, head: bytes) -> "Fingerprint":
        """Return a fingerprint without its sketches from the beginning of its file.

        Card, privacy statement and provenance can be read from it; its id and signature belong to the whole.

        Args:
            head: What ``container.read_head`` returned.

        Raises:
            FingerprintError: If that is no beginning of a fingerprint.
        """
        fingerprint = _parse(unpack_header(head, "fingerprint"), lambda *_: {})
        if fingerprint.privacy.is_exact:  # nobody asks for its shapes, and catalogues hold thousands
            return fingerprint
        return replace(fingerprint, shapes=unpack_shapes(head, "fingerprint"))

    @cached_property
    def _tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {name: _narrow(array) for name, array in encode_arrays(self.sketches).items()}

    @cached_property
    def _header(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "site": self.site,
            "card": self.card.to_json(),
            "space_id": self.space_id,
            "sketches": sorted(self.sketches),
            "arrays": {name: _array_digest(array) for name, array in self._tensors.items()},
            "privacy": self.privacy.to_json(),
            "provenance": asdict(self.provenance),
        }

    @property
    def _signed_bytes(self) -> bytes:
        return _DOMAIN + canonical_json(self._header)


def _narrow(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Integers in four bytes where every value fits, in eight otherwise."""
    fits = np.abs(array).max(initial=0) < 2**31
    return np.ascontiguousarray(array, dtype="<i4" if fits else "<i8")


def _array_digest(array: npt.NDArray[Any]) -> str:
    return sha256_hex(canonical_json([array.dtype.str, list(array.shape)]) + array.tobytes())


def _parse(container: Mapping[str, Any], sketches: Decoder) -> Fingerprint:
    try:
        return _decode(container, sketches)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FingerprintError(
            f"a fingerprint's header is malformed ({type(error).__name__})",
            remedy="ask the site to make it again with this version of fedprint",
        ) from error


def _decode(container: Mapping[str, Any], sketches: Decoder) -> Fingerprint:
    header = container["header"]
    if header["schema"] != SCHEMA:
        raise FingerprintError(
            f"fingerprint format {header['schema']} is not the format {SCHEMA} of this version",
            remedy="use the same fedprint version at all sites",
        )
    privacy = PrivacyStatement.from_json(header["privacy"])
    return Fingerprint(
        site=header["site"],
        card=TaskCard.from_json(header["card"]),
        space_id=header["space_id"],
        sketches=sketches(header["sketches"], privacy.noise),
        privacy=privacy,
        provenance=Provenance(
            **{**header["provenance"], "sampling": SamplingPlan(**header["provenance"]["sampling"])}
        ),
        signature=bytes.fromhex(container["signature"]),
    )
