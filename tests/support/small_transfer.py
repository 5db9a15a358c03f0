"""Transfer experiments that take seconds: digits of three sites, timm's smallest networks at 32 pixels."""

from pathlib import Path

from small_federation import write_small_federation

NETWORK, OTHER = "test_resnet", "test_efficientnet"


def write_small_transfer(
    folder: Path,
    *,
    scenarios=("pretraining", "architecture", "augmentation", "co_training"),
    trusts=("open", "open", "open"),
    targets=("bern/digits",),
    sources=("anna/digits",),
    seeds=(0,),
    slice_s=0.001,
    extra="",
    federation_extra="",
) -> Path:
    """Write a federation and a plan; returns the plan's file."""
    write_small_federation(folder, trusts=trusts, n=200, extra=federation_extra)
    path = folder / "plan.toml"
    path.write_text(
        f"""
name = "small"
federation = "federation.toml"
seeds = {list(seeds)}
scenarios = {list(scenarios)}
targets = {list(targets)}
sources = {list(sources)}
baselines = ["scratch"]
n_train = 40
slice_s = {slice_s}
attempts = 1
[network]
name = "{NETWORK}"
image_size = 32
start = "scratch"
[source_training]
epochs = 2
draws = 32
batch_size = 16
[target_training]
epochs = 2
draws = 32
batch_size = 16
[architecture]
networks = ["timm:{NETWORK}", "timm:{OTHER}"]
[augmentation]
candidates = 2
[co_training]
rounds = 2
{extra}"""
    )
    return path
