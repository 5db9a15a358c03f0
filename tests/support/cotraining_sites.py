"""Small real sites that train a backbone together: real files, a real network, heads of their own."""

from dataclasses import dataclass, field
from pathlib import Path

import cohorts
import numpy as np
import tomli_w
from factories import make_job
from pictures import save

from federation.canonical import sha256_hex
from federation.identity import Identity
from federation.transfer.averaging import signed_average
from federation.transfer.messages import TransferReply, TransferRequest
from federation.transfer.model import TravellingModel
from federation.transfer.recipe import Network, Recipe
from federation.transfer.step import CotrainStep
from site_agent.jobs import Site
from site_agent.transfer.participation import answer_step

HUB = cohorts.identity("hub")
GROUP, COHORT = "cd" * 32, "chests"
NETWORK = Network(name="test_resnet", image_size=32)
N_PATIENTS = 16


@dataclass
class Consortium:
    """Sites that train together, and the aggregator that asks them.

    Args:
        sites: Name → site.
        changes: What their steps say otherwise than by default.
    """

    sites: dict[str, Site]
    changes: dict = field(default_factory=dict)

    @property
    def roster(self):
        return {name: site.identity.public_key for name, site in self.sites.items()}

    def step(self, name, number=0, start=None, **changes):
        """One site's part in a round."""
        said = {
            "site": name,
            "task": "lungs",
            "network": NETWORK,
            "recipe": Recipe(epochs=2, batch_size=8),
            "start": start or "scratch",
            "group": GROUP,
            "round": number,
            "rounds": 3,
            "partners": tuple(sorted(self.sites)),
        }
        return CotrainStep(**(said | self.changes | changes))

    def ask(self, step, model=b"", slice_s=0.0):
        """Ask once, through the records that travel."""
        site, job = self.sites[step.site], make_job("job-1", aggregator=HUB.public_key)
        request = TransferRequest(job, step, slice_s, model).to_record(HUB)
        record = answer_step(site, TransferRequest.from_record(request)).to_record(site.identity)
        return TransferReply.from_record(record, self.roster, job, step)

    def finish(self, step, model=b"", slice_s=0.0):
        """Ask until the step ends, and return the last reply."""
        reply = self.ask(step, model, slice_s)
        while reply.state == "running":
            reply = self.ask(step, b"", slice_s)
        return reply

    def texts(self, name):
        """All error texts in a site's log."""
        return " ".join(event.get("text", "") for event in self.sites[name].state.events())

    def files(self, name):
        """What a site keeps of the common training."""
        folder = self.sites[name].state.folder / "transfer" / "groups" / GROUP / "lungs"
        return sorted(path.name for path in folder.glob("*"))

    def average(self, weights, step, aggregator: Identity = HUB):
        """What the next round begins at: its id and its bytes."""
        data = signed_average(weights, "batch", step, aggregator).to_bytes()
        return sha256_hex(data), data


def model_in(reply: TransferReply) -> TravellingModel:
    return TravellingModel.from_bytes(reply.model, reply.result.model_id)


def write_consortium(folder: Path, names=("anna", "bern"), transfer=None, task=None, **changes) -> Consortium:
    """Write sites whose two classes differ in brightness, each site with colours of its own.

    Args:
        folder: Where.
        names: Their names.
        transfer: The table ``[task.lungs.transfer]``; by default models may go to anybody.
        task: The table ``[task.lungs]`` of a task whose patients have a budget.
        changes: What their steps say otherwise than by default.
    """
    members = {name: _open(folder / name, name).identity.public_key for name in names}
    table = transfer or {
        "metrics_because": "public",
        "measured_images": 1,
        "models": "exact",
        "models_because": "public",
        "models_to": "any",
    }
    for name in names:
        policy = {
            "schema": 1,
            "aggregator": {"public_keys": [HUB.public_key]},
            "task": {"lungs": task or {"modes": ["listen"], "transfer": table}},
        }
        if task is not None:
            policy["population"] = {"patients": {"rho": "2", "delta": 1e-6}}
        if len(names) > 2:
            policy["cohort"] = {COHORT: {"members": members}}
        (folder / name / "policy.toml").write_text(tomli_w.dumps(policy))
    return Consortium({name: _open(folder / name, name) for name in names}, changes)


def _open(folder: Path, name: str) -> Site:
    if not (folder / "site.toml").exists():
        _write_images(folder, cohorts.identity(name).public_key)
        dataset = {"format": "csv", "task": "lungs", "table": "labels.csv", "images": "images"}
        site = {"name": name, "dataset": [dataset], "transfer": {"device": "cpu"}}
        (folder / "site.toml").write_text(tomli_w.dumps(site))
    return Site.open(folder / "site.toml")


def _write_images(folder: Path, name: str) -> None:
    random, rows = np.random.default_rng(int(name[:8], 16)), ["path,label,patient"]
    tint = random.integers(0, 60, 3)
    for i in range(2 * N_PATIENTS):
        ill = (i // 2) % 2
        pixels = random.integers(40 + 80 * ill, 120 + 80 * ill, (32, 32, 3)) + tint
        save(folder / "images" / f"{i}.png", np.minimum(pixels, 255).astype(np.uint8))
        rows.append(f"{i}.png,{('well', 'ill')[ill]},patient-{i // 2}")
    (folder / "labels.csv").write_text("\n".join(rows))
