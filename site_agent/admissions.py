"""Who is already in a released cohort, so that a refresh of new admissions costs nobody anything twice.

Cohorts that share no patient compose in parallel: a patient pays only for the release of the cohort that the
patient is in. This holds only while cohorts are disjoint, which is enforced here, within one task and space.
Patients are remembered as keyed hashes: without the site's secret nobody can tell who is among them.
Proof: docs/privacy-proofs.md#admission-cohorts.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from federation.canonical import canonical_json
from federation.errors import PolicyError, StoreError
from federation.files import create_atomically, locked, read_file, write_atomically
from federation.names import check_name
from site_agent.data.source import ImageSource
from site_agent.patients import is_known

Tokens = frozenset[str]
_SCHEMA = 1
_SECRET_BYTES = 32
_RESTORE = "restore the folder from backup; releasing without it could charge patients too little"


@dataclass(frozen=True)
class Admissions:
    """The cohorts of one task in one space that were released so far.

    Args:
        folder: Where the site keeps the admissions of all its tasks.
        task: The task.
        space_id: The space.
    """

    folder: Path
    task: str
    space_id: str

    @property
    def path(self) -> Path:
        """Where the cohorts are kept."""
        return self.folder / check_name("task", self.task) / f"{check_name('space', self.space_id)}.json"

    @property
    def cohorts(self) -> Mapping[str, Tokens]:
        """Cohort → its patients' tokens, in the order in which they were remembered.

        Raises:
            StoreError: If the record is damaged, or the secret is lost.
        """
        if not self.path.exists():
            return {}
        return _decode(read_file(self.path, "the record of cohorts"), self)

    def new_patients(self, source: ImageSource, cohort: str | None = None) -> ImageSource:
        """Return the images of patients that are in no cohort.

        A patient is known by the id, or by any image that was released under another one: who renames
        everybody releases nobody twice.

        Args:
            source: All images of the task.
            cohort: A cohort that does not count: one whose release is being finished.

        Raises:
            PolicyError: If the dataset does not say whose images it holds.
            StoreError: If the record is damaged, or the secret is lost.
        """
        others = [tokens for name, tokens in self.cohorts.items() if name != cohort]
        known = frozenset[str]().union(*others)
        owners, images = self._tokens_of_each(source)
        released = {owner for owner, image in zip(owners, images, strict=True) if {owner, image} & known}
        return source.subset([index for index, owner in enumerate(owners) if owner not in released])

    def tokens(self, source: ImageSource) -> Tokens:
        """Return what the patients of a dataset and their images are remembered as.

        Raises:
            PolicyError: If the dataset does not say whose images it holds.
            StoreError: If the secret is lost.
        """
        owners, images = self._tokens_of_each(source)
        return frozenset(owners + images)

    def remember(self, cohort: str, patients: ImageSource | Tokens) -> None:
        """Make it durable that patients are in a cohort; to say it twice changes nothing.

        Args:
            cohort: Name of the cohort.
            patients: Its images, or what ``tokens`` returned for them.

        Raises:
            PolicyError: If the cohort is known with other patients, or one of its patients is in another, or
                the dataset does not say whose images it holds.
            StoreError: If the record is damaged or cannot be written; it is then as it was.
        """
        check_name("cohort", cohort)
        tokens = self.tokens(patients) if isinstance(patients, ImageSource) else patients
        with locked(self.folder / "lock"):
            known = self.cohorts
            if known.get(cohort) == tokens:
                return
            self._require_new(cohort, tokens, known)
            write_atomically(self.path, _encode({**known, cohort: tokens}, self))

    def begin(self, cohort: str, tokens: Tokens) -> None:
        """Make it durable that everybody was released anew: the first cohort of a series takes all places.

        Args:
            cohort: Name of the cohort.
            tokens: What ``tokens`` returned for its images.

        Raises:
            StoreError: If it cannot be written; the record is then as it was.
        """
        check_name("cohort", cohort)
        with locked(self.folder / "lock"):
            write_atomically(self.path, _encode({cohort: tokens}, self))

    def _require_new(self, cohort: str, tokens: Tokens, known: Mapping[str, Tokens]) -> None:
        if cohort in known:
            raise PolicyError(
                f"task {self.task}: cohort {cohort} was recorded with other patients",
                remedy="give every release of new admissions a name of its own",
            )
        shared = [name for name, theirs in known.items() if theirs & tokens]
        if shared:
            raise PolicyError(
                f"task {self.task}: cohort {cohort} shares patients with {', '.join(shared)}",
                remedy="release only the patients that new_patients returns",
            )

    def _tokens_of_each(self, source: ImageSource) -> tuple[list[str], list[str]]:
        """Return the token of every image's patient, and that of every image's name."""
        ids, secret = patient_ids(source), _secret(self.folder)
        token = {patient: _token(secret, self.task, "patient", patient) for patient in set(ids)}
        names = [_token(secret, self.task, "image", source.name(index)) for index in range(len(source))]
        return [token[patient] for patient in ids], names


def patient_ids(source: ImageSource) -> list[str]:
    """Return whose image each is.

    Raises:
        PolicyError: If that is not known of every image.
    """
    if source.patients is None:
        raise PolicyError(
            f"{source.origin} does not say whose images it holds, so new patients look like old ones",
            remedy="add a patient column, or set refresh to 'never' or 'whole'",
        )
    unknown = sum(not is_known(patient) for patient in source.patients)
    if unknown:
        raise PolicyError(
            f"{source.origin}: {unknown} of {len(source)} images have no patient id, so nobody can tell "
            "whether their patients are new",
            remedy="fill the patient ids in or drop these images, or set refresh to 'never' or 'whole'",
        )
    return [patient.strip() for patient in source.patients]


def _token(secret: bytes, task: str, what: str, name: str) -> str:
    text = json.dumps([task, what, name])  # ASCII, so that any text of a file's header can be hashed
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def _secret(folder: Path) -> bytes:
    """Return the site's secret; it is made once, and never again where records exist that need it."""
    path = folder / "secret.key"
    if not path.exists():
        if any(folder.glob("*/*.json")):
            raise StoreError(f"the secret {path} of the site's cohorts is lost", remedy=_RESTORE)
        create_atomically(path, secrets.token_bytes(_SECRET_BYTES))
    secret = read_file(path, "the secret of the site's cohorts")
    if len(secret) != _SECRET_BYTES:
        raise StoreError(f"{path} does not hold the secret of the site's cohorts", remedy=_RESTORE)
    return secret


def _encode(cohorts: Mapping[str, Tokens], owner: Admissions) -> bytes:
    listed = [[cohort, sorted(tokens)] for cohort, tokens in cohorts.items()]
    content = {"schema": _SCHEMA, "task": owner.task, "space": owner.space_id, "cohorts": listed}
    return canonical_json({**content, "seal": _seal(content, owner.folder)})


def _decode(data: bytes, owner: Admissions) -> dict[str, Tokens]:
    """Return the cohorts of a record that is whole and of this task, space and secret."""
    try:
        content = json.loads(data)
        seal = content.pop("seal")
        whole = hmac.compare_digest(seal, _seal(content, owner.folder))
        named = [content["schema"], content["task"], content["space"]]
        cohorts = {cohort: frozenset(tokens) for cohort, tokens in content["cohorts"]}
    except (ValueError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole or named != [_SCHEMA, owner.task, owner.space_id]:
        raise StoreError(
            f"the record of cohorts {owner.path} is damaged, or its secret was replaced", remedy=_RESTORE
        )
    return cohorts


def _seal(content: Mapping[str, object], folder: Path) -> str:
    return hmac.new(_secret(folder), canonical_json(["record", content]), hashlib.sha256).hexdigest()
