"""What a policy says about transfer experiments, and that whatever it does not say is forbidden."""

import pytest
import tomli_w
from transfer_site import EXACT, NETWORK, cotrain, train, write_transfer_site

from federation.errors import ConfigError, PolicyError
from federation.transfer.recipe import Network
from site_agent.policy import Policy
from site_agent.transfer.networks import STANDARD
from site_agent.transfer.policy import TransferPolicy

KEY = "ab" * 32
WORDS = "because"
PRIVATE = {
    "modes": ["private"],
    "population": "patients",
    "rho": "1/2",
    "release_rho": "1/20",
    "images_per_patient": 2,
    "minimum_patients": 10,
    "spaces": "any",
    "sketches": ["cdf"],
    "refresh": "never",
}


def read(tmp_path, transfer, task=None, everywhere=None):
    table = (task or {"modes": ["listen"]}) | ({} if transfer is None else {"transfer": transfer})
    policy = {
        "schema": 1,
        "aggregator": {"public_keys": [KEY]},
        "population": {"patients": {"rho": "1", "delta": 1e-6}},
        "task": {"lungs": table},
        "transfer": everywhere or {},
    }
    path = tmp_path / "policy.toml"
    path.write_text(tomli_w.dumps(policy))
    return Policy.read(path).task("lungs")


def test_a_task_without_words_takes_no_part(tmp_path):
    for transfer in (None, {}):
        with pytest.raises(PolicyError, match="no part in transfer experiments"):
            _ = read(tmp_path, transfer).in_transfer


def test_a_task_that_the_policy_does_not_name_takes_no_part(tmp_path):
    read(tmp_path, None)
    assert Policy.read(tmp_path / "policy.toml").task("hips").transfer is None


def test_figures_may_leave_and_models_not(tmp_path):
    policy = read(tmp_path, {"metrics_because": WORDS}).in_transfer
    policy.require_measured()
    with pytest.raises(PolicyError, match="no model may leave"):
        policy.require_model(["bern"], private=True)


@pytest.mark.parametrize(
    ("transfer", "complaint"),
    [
        ({"metrics_because": " "}, "metrics_because is empty"),
        ({"metrics_because": WORDS, "models": "exact", "models_to": "any"}, "models_because is missing"),
        (EXACT | {"models_because": "  "}, "models_because is empty"),
        ({"metrics_because": WORDS, "models_because": WORDS}, "models is not"),
        ({"metrics_because": WORDS, "models_to": ["bern"]}, "models_to is given"),
        ({key: EXACT[key] for key in EXACT if key != "models_to"}, "models_to is missing"),
        ({key: EXACT[key] for key in EXACT if key != "metrics_because"}, "metrics_because is missing"),
        (EXACT | {"models_to": []}, "at least one site"),
        (EXACT | {"models_to": ["any"]}, "by itself"),
        (EXACT | {"models_to": ["Bern!"]}, "not allowed"),
        (EXACT | {"models": "noisy"}, "exact"),
        (EXACT | {"modles_to": "any"}, "modles_to"),
        ({"metrics_because": WORDS, "models": "private", "models_to": "any"}, "no budget pays"),
        ({"metrics_because": WORDS, "summed_in": "chests"}, "summed_because is missing"),
        ({"metrics_because": WORDS, "summed_because": WORDS}, "summed_in is missing"),
        ({"summed_in": "chests", "summed_because": WORDS}, "metrics_because is missing"),
        (
            {"metrics_because": WORDS, "summed_in": "chests", "summed_because": WORDS},
            r'transfer\.summed_in is "chests", expected at least one',
        ),
    ],
)
def test_a_contradictory_table_is_refused(tmp_path, transfer, complaint):
    with pytest.raises(ConfigError, match=complaint):
        read(tmp_path, transfer)


def test_exact_sums_of_a_task_with_noise_are_refused(tmp_path):
    table = {"metrics_because": WORDS, "summed_in": "chests", "summed_because": WORDS}
    with pytest.raises(ConfigError, match="exact sums undo"):
        read(tmp_path, table, task=PRIVATE)


def test_exact_models_of_a_task_with_noise_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="exact weights undo"):
        read(tmp_path, EXACT, PRIVATE)


def test_private_models_leave_only_after_private_training(tmp_path):
    table = {"metrics_because": WORDS, "models": "private", "models_to": "any"}
    policy = read(tmp_path, table, PRIVATE).in_transfer
    policy.require_model(["bern", "cork"], private=True)
    with pytest.raises(PolicyError, match="trained with noise"):
        policy.require_model(["bern"], private=False)


def test_models_go_only_to_named_sites(tmp_path):
    policy = read(tmp_path, EXACT).in_transfer
    policy.require_model(["bern"], private=False)
    with pytest.raises(PolicyError, match="may not go to cork"):
        policy.require_model(["bern", "cork"], private=False)


def test_a_policy_that_says_nothing_forbids_everything():
    silent = TransferPolicy("lungs")
    for ask in (
        silent.require_measured,
        lambda: silent.require_model([], private=True),
        lambda: silent.require_network(NETWORK),
        lambda: TransferPolicy("lungs", model_sources={}).require_source("bern", KEY),
        lambda: TransferPolicy("lungs", models="exact", models_to=None).require_model([], private=False),
    ):
        with pytest.raises(PolicyError):
            ask()


def test_standard_networks_are_allowed_whatever_their_weights_are_tagged(tmp_path):
    policy = read(tmp_path, EXACT).in_transfer
    for name in ("tf_efficientnet_lite0", "resnet18.a1_in1k", "test_resnet"):
        policy.require_network(Network(name=name))
    for network in (Network(name="vit_huge_patch14_224"), Network(library="torchvision", name="test_resnet")):
        with pytest.raises(PolicyError, match="does not allow the network"):
            policy.require_network(network)


def test_a_list_of_networks_replaces_the_standard_ones(tmp_path):
    policy = read(tmp_path, EXACT, everywhere={"networks": ["timm:vgg11"]}).in_transfer
    policy.require_network(Network(name="vgg11"))
    with pytest.raises(PolicyError):
        policy.require_network(NETWORK)
    for wrong in ([], ["resnet18"], ["keras:resnet18"]):
        with pytest.raises(ConfigError):
            read(tmp_path, EXACT, everywhere={"networks": wrong})


def test_every_standard_network_exists():
    import timm
    import torchvision

    known = {f"timm:{name}" for name in timm.list_models()}
    known |= {f"torchvision:{name}" for name in torchvision.models.list_models(module=torchvision.models)}
    assert known >= STANDARD


def test_models_come_only_from_named_sites_under_their_keys(tmp_path):
    policy = read(tmp_path, EXACT, everywhere={"model_sources": {"bern": KEY}}).in_transfer
    policy.require_source("bern", KEY)
    for site, key in (("bern", "cd" * 32), ("cork", KEY)):
        with pytest.raises(PolicyError, match="allows no models"):
            policy.require_source(site, key)


REFUSED = {
    "no table": (None, train()),
    "no words": ({}, train()),
    "no models": ({"metrics_because": WORDS}, train(travels_to=("bern",))),
    "no models, co-training": ({"metrics_because": WORDS}, cotrain()),
    "no models, masked co-training": ({"metrics_because": WORDS}, cotrain(masked=True)),
    "another site": (EXACT, train(travels_to=("bern", "cork"))),
    "another partner": (EXACT, cotrain(partners=("anna", "cork"))),
    "another network": (EXACT, train(network=Network(name="vgg19"))),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_step_does_no_work_and_says_policy(tmp_path, case, monkeypatch):
    transfer, step = REFUSED[case]
    site = write_transfer_site(tmp_path, transfer)
    assert site.ask(step).state == "policy"
    assert not (site.site.state.folder / "transfer" / step.step_id).exists()


def test_a_policy_that_changes_stops_what_was_allowed(tmp_path):
    site = write_transfer_site(tmp_path)
    step = train(travels_to=("bern",))
    assert site.finish(step)[-1].model
    write_transfer_site(tmp_path, {"metrics_because": WORDS})
    assert (site.ask(step).state, site.ask(train()).state) == ("policy", "running")


def test_figures_about_too_few_images_stay(tmp_path):
    site = write_transfer_site(tmp_path, EXACT | {"measured_images": 1_000})
    failed = site.finish(train())[-1]
    assert (failed.state, failed.result) == ("transfer", None)
    assert "the policy demands 1000" in site.events("transfer-failed")[-1]["text"]


def test_after_the_last_allowed_step_only_what_was_begun_is_answered(tmp_path):
    site = write_transfer_site(tmp_path, EXACT | {"steps": 2})
    done = [site.finish(train(seed=seed))[-1] for seed in (0, 1)]
    assert site.ask(train(seed=2)).state == "policy"
    assert "the policy allows 2" in site.events("transfer-failed")[-1]["text"]
    assert [site.ask(train(seed=seed)).result for seed in (0, 1)] == [each.result for each in done]
