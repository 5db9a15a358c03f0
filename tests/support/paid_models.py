"""A site whose models may leave with noise, for which its ledger pays; training only counts epochs."""

import tomllib
from dataclasses import dataclass

import tomli_w
from transfer_site import NETWORK, TransferSite, train, write_transfer_site

from federation.canonical import sha256_hex
from federation.transfer.model import TravellingModel
from federation.transfer.recipe import PrivateTraining, Recipe
from site_agent import jobs
from site_agent.jobs import Site
from site_agent.ledger.chain import read_chain
from site_agent.ledger.storage import LedgerFiles
from site_agent.ledger.verify import verify_ledger

TERMS = {
    "modes": ["private"],
    "population": "patients",
    "rho": "1",
    "release_rho": "1/2",
    "images_per_patient": 2,
    "minimum_patients": 1,
    "spaces": "any",
    "sketches": ["histogram"],
    "refresh": "never",
}
TRANSFER = {
    "metrics_because": "figures tell nothing of one patient",
    "measured_images": 1,
    "models": "private",
    "models_to": "any",
}
RECIPE = Recipe(epochs=2, draws=8, batch_size=4, private=PrivateTraining(noise_multiplier=2.0))
"""Costs ρ = 1/4."""


def paid_step(**changes):
    """A step whose model shall leave and costs ρ = 1/4."""
    return train(**({"network": NETWORK, "recipe": RECIPE, "travels_to": ("bern",)} | changes))


def recipe(**private):
    """The recipe with other noise, clipping or images per patient."""
    changed = RECIPE.private.model_copy(update=private)
    return RECIPE.model_copy(update={"private": changed})


@dataclass(frozen=True)
class PayingSite(TransferSite):
    """A site with a ledger."""

    def reopened(self):
        """The site as a new process finds it."""
        jobs._ledger.cache_clear()
        return PayingSite(Site.open(self.site.config.policy_path.with_name("site.toml")), self.hub)

    def set_terms(self, population="2", **terms):
        """Write the policy with other terms than before."""
        path = self.site.config.policy_path
        policy = tomllib.loads(path.read_text())
        policy["population"] = {"patients": {"rho": population, "delta": 1e-6}}
        kept = {key: value for key, value in (TERMS | terms).items() if value is not None}
        policy["task"] = {"digits": kept | {"transfer": TRANSFER | terms.pop("transfer", {})}}
        path.write_text(tomli_w.dumps(policy))

    def charges(self):
        """What the ledger says was charged, read anew."""
        files = LedgerFiles(self.site.state.folder)
        entries = read_chain(files, self.site.identity.public_key).entries
        return [entry.charge for entry in entries if entry.charge]

    def findings(self):
        """What is wrong with the ledger."""
        return verify_ledger(LedgerFiles(self.site.state.folder), self.site.identity.public_key).findings


def write_paying_site(folder, **terms):
    """Write a site with eight images of four patients whose models cost ρ."""
    jobs._ledger.cache_clear()
    written = write_transfer_site(folder)
    site = PayingSite(written.site, written.hub)
    site.set_terms(**terms)
    return site


def model_in(reply):
    """The model that a reply carries, verified."""
    return TravellingModel.from_bytes(reply.model, sha256_hex(reply.model))
