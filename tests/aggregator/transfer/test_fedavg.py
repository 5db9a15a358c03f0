"""Five attacks on federated averaging: what Flower's own strategy makes of them, and what ours does."""

from dataclasses import replace

import cohorts
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.exception import InconsistentMessageReplies
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity
from sealed_wire import answering, plain

from aggregator.transfer.averaging import GUARD, Trained, average_backbones, weight_shares
from aggregator.transfer.fedavg import GuardedFedAvg, Wire, average_round, trained_by
from federation.canonical import sha256_hex
from federation.errors import ModelError, TransferError
from federation.transfer.averaging import average_id, require_average, signed_average
from federation.transfer.messages import TransferReply, TransferRequest
from federation.transfer.model import TravellingModel
from federation.transfer.recipe import Network, Recipe
from federation.transfer.result import StepResult
from federation.transfer.step import CotrainStep

SITES = ("anna", "bern", "cork", "dover")
HUB = cohorts.identity("hub")
ROSTER = {site: cohorts.identity(site).public_key for site in SITES}
NODES = {site: 1000 + i for i, site in enumerate(SITES)}
GROUP = "a1" * 32
EMPTY = ArrayRecord({})


@pytest.fixture(autouse=True)
def a_run_of_flower():
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1


def backbone(value=1.0, **arrays):
    return {
        "conv.weight": np.full((2, 2), value, np.float32),
        "bn.weight": np.full(3, value, np.float32),
    } | arrays


def step_of(site, round_number=0, start=None):
    return CotrainStep(
        site=site, task="chest", network=Network(name="tiny", image_size=32), recipe=Recipe(),
        start=start or "scratch", group=GROUP, round=round_number, rounds=3, partners=SITES,
    )  # fmt: skip


def strategy_of():
    def steps(number, start):
        return [step_of(site, number, start) for site in SITES]

    return GuardedFedAvg(steps, Wire(HUB, ROSTER, NODES, "job-1"))


def asked(strategy, round_number=0, arrays=EMPTY):
    return list(strategy.configure_train(round_number + 1, arrays, ConfigRecord(), None))


def answered(message, weights, n_train=100, signer="", **changes):
    """The message with which the site that is asked tells what it trained."""
    request = TransferRequest.from_record(plain(message.content))
    step, identity = request.step, cohorts.identity(signer or request.step.site)
    model = TravellingModel(step.network, "batch", step.site, step.task, step.step_id, weights)
    data = replace(model, **changes).signed(cohorts.identity(step.site)).to_bytes()
    result = StepResult.model_construct(n_train=n_train, n_classes=2, model_id=sha256_hex(data))
    reply = TransferReply(
        step.site, request.job.job_id, request.job.nonce, step.step_id, result=result, model=data
    )
    return answering(message, cohorts.identity(step.site), reply.to_record(identity))


def plainly(weights, n_train):
    """What an honest or lying client of Flower's own strategy sends."""
    arrays = ArrayRecord({name: Array(array) for name, array in weights.items()})
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": n_train})})
    return Message(content, 1, "train")


def plain_average(told):
    arrays, _ = FedAvg().aggregate_train(1, [plainly(*each) for each in told])
    return {name: array.numpy() for name, array in arrays.items()}


def guarded_average(told):
    """The average where the last site says something else than the others."""
    strategy = strategy_of()
    messages = asked(strategy)
    arrays, _ = strategy.aggregate_train(
        1, [answered(m, *each) for m, each in zip(messages, told, strict=True)]
    )
    return {name: array.numpy() for name, array in arrays.items()}, strategy.averages[-1].judged


HONEST = [(backbone(1.0), 100), (backbone(1.1), 120), (backbone(0.9), 80)]


def told_with(weights, n_train=100):
    return [*HONEST, (weights, n_train)]


def test_a_site_that_claims_a_million_million_images_does_not_replace_the_model():
    told = told_with(backbone(1.2), 10**12)
    assert plain_average(told)["bn.weight"] == pytest.approx(1.2)
    average, judged = guarded_average(told)
    assert judged.shares["dover/chest"] == pytest.approx(220 / 520)
    assert average["bn.weight"] == pytest.approx((100 + 132 + 72 + 264) / 520)


def test_a_negative_weight_does_not_turn_the_model_round():
    told = [(backbone(1.0), 20), (backbone(5.0), -19)]
    assert plain_average(told)["bn.weight"] == pytest.approx(-75.0)
    average, judged = guarded_average(told_with(backbone(5.0), -19))
    assert "malformed" in judged.dropped["dover/chest"]
    assert average["bn.weight"] == pytest.approx((100 + 132 + 72) / 300)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_do_not_spread(bad):
    told = told_with(backbone(bad))
    assert not np.isfinite(plain_average(told)["bn.weight"]).any()
    average, judged = guarded_average(told)
    assert "not finite" in judged.dropped["dover/chest"]
    assert average["bn.weight"] == pytest.approx((100 + 132 + 72) / 300)


def test_a_wrong_shape_does_not_end_the_run():
    told = told_with(backbone() | {"bn.weight": np.ones(4, np.float32)})
    with pytest.raises(ValueError, match="broadcast"):
        plain_average(told)
    assert "array bn.weight" in guarded_average(told)[1].dropped["dover/chest"]


def test_a_renamed_array_does_not_end_the_run():
    told = told_with({"conv.weight": np.ones((2, 2), np.float32), "other": np.ones(3, np.float32)})
    with pytest.raises(InconsistentMessageReplies):
        plain_average(told)
    assert set(guarded_average(told)[1].good) == {"anna/chest", "bern/chest", "cork/chest"}


def test_another_type_of_numbers_is_left_out():
    told = told_with({"conv.weight": np.ones((2, 2), np.int64), "bn.weight": np.ones(3, np.float32)})
    assert "array conv.weight" in guarded_average(told)[1].dropped["dover/chest"]


def test_a_site_that_raises_is_left_out():
    strategy = strategy_of()
    *messages, last = asked(strategy)
    replies = [answered(m, *each) for m, each in zip(messages, HONEST, strict=True)]
    arrays, _ = strategy.aggregate_train(1, [*replies, Message(Error(2, "patient-0815.png"), reply_to=last)])
    assert arrays["bn.weight"].numpy() == pytest.approx((100 + 132 + 72) / 300)
    assert strategy.averages[-1].judged.dropped == {"dover/chest": "its node could not answer"}


def test_a_reply_in_the_name_of_another_site_is_refused():
    strategy = strategy_of()
    *messages, last = asked(strategy)
    replies = [answered(m, *each) for m, each in zip(messages, HONEST, strict=True)]
    strategy.aggregate_train(1, [*replies, answered(last, backbone(50.0), signer="bern")])
    assert "signature" in strategy.averages[-1].judged.dropped["dover/chest"]


def test_a_reply_to_another_request_is_refused():
    strategy = strategy_of()
    before = asked(strategy)
    asked(strategy)
    with pytest.raises(TransferError, match="good updates are 0"):
        strategy.aggregate_train(
            1, [answered(m, *each) for m, each in zip(before, told_with(backbone()), strict=True)]
        )


def test_a_backbone_of_another_step_is_refused():
    strategy = strategy_of()
    *messages, last = asked(strategy)
    replies = [answered(m, *each) for m, each in zip(messages, HONEST, strict=True)]
    strategy.aggregate_train(1, [*replies, answered(last, backbone(), step_id="0" * 64)])
    assert "made by another step" in strategy.averages[-1].judged.dropped["dover/chest"]


def test_without_attacks_the_average_is_that_of_flower_with_the_same_weights():
    told = told_with(backbone(1.3), 90)
    ours, theirs = guarded_average(told)[0], plain_average(told)
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-6)


def test_the_pure_function_gives_what_the_strategy_gives():
    told = told_with(backbone(400.0), 10**9)
    trained = {f"{site}/chest": Trained(*each) for site, each in zip(SITES, told, strict=True)}
    pure = average_backbones(trained, None)
    ours, judged = guarded_average(told)
    assert pure.judged.shares == judged.shares
    assert set(pure.judged.shortened) == {"dover/chest"}
    for name, array in ours.items():
        np.testing.assert_allclose(pure.weights[name], array, rtol=1e-6)
        assert pure.weights[name].dtype == array.dtype


def test_the_next_round_begins_at_the_average_signed_by_the_aggregator():
    strategy = strategy_of()
    replies = [answered(m, *each) for m, each in zip(asked(strategy), told_with(backbone()), strict=True)]
    arrays, _ = strategy.aggregate_train(1, replies)
    request = TransferRequest.from_record(plain(asked(strategy, 1, arrays)[0].content))
    model = TravellingModel.from_bytes(request.model, request.step.model_id)
    assert (model.public_key, model.step_id) == (HUB.public_key, average_id(request.step.group, 0))
    assert request.step.round == 1
    np.testing.assert_array_equal(model.weights["bn.weight"], arrays["bn.weight"].numpy())


def test_one_good_update_is_no_common_training():
    trained = {"anna/chest": Trained(backbone(), 10), "bern/chest": Trained(backbone(np.nan), 10)}
    with pytest.raises(TransferError, match=r"good updates are 1.*bern/chest: its array .* not finite"):
        average_backbones(trained, None)


def test_shapes_are_those_of_the_backbone_that_was_sent_even_if_all_agree_on_others():
    trained = {who: Trained({"x": np.ones(3, np.float32)}, 10) for who in ("a", "b")}
    with pytest.raises(TransferError, match="good updates are 0"):
        average_backbones(trained, {"x": np.ones(4, np.float32)})


def test_where_shapes_differ_in_the_first_round_of_two_nobody_is_believed():
    trained = {
        "a": Trained({"x": np.ones(3, np.float32)}, 10),
        "b": Trained({"x": np.ones(4, np.float32)}, 10),
    }
    with pytest.raises(TransferError, match="2 shapes"):
        average_backbones(trained, None)


def test_an_update_far_longer_than_the_others_is_shortened():
    start = backbone(0.0)
    trained = {
        who: Trained(backbone(value), 10) for who, value in {"a": 1, "b": 2, "c": 3, "d": 1000}.items()
    }
    average = average_backbones(trained, start)
    assert average.judged.shortened == {"d": pytest.approx(GUARD.longest * 2 / 1000)}
    assert average.weights["bn.weight"] == pytest.approx((1 + 2 + 3 + 10) / 4)


def test_of_two_updates_one_far_longer_ends_the_training():
    trained = {"a": Trained(backbone(1.0), 10), "b": Trained(backbone(1000.0), 10)}
    with pytest.raises(TransferError, match="1e\\+03 times as long"):
        average_backbones(trained, backbone(0.0))


def test_of_two_backbones_that_began_alike_one_far_larger_ends_the_training():
    one = {"x": np.ones(3, np.float32)}
    trained = {"a": Trained(one, 10), "b": Trained({"x": -19 * one["x"]}, 10)}
    with pytest.raises(TransferError, match="19 times as long as the other, expected at most 10"):
        average_backbones(trained, None)


def test_an_update_of_a_head_alone_moves_nothing():
    trained = {"a": Trained(backbone(1.0), 10), "b": Trained(backbone(1.0), 1000)}
    assert average_backbones(trained, backbone(1.0)).weights["bn.weight"] == pytest.approx(1.0)


def test_two_sites_weigh_the_same_whatever_they_say():
    shares = weight_shares({"a": Trained(backbone(), 10), "b": Trained(backbone(), 10_000)})
    assert shares == {"a": 0.5, "b": 0.5}


def test_nobody_weighs_more_than_all_others_together():
    shares = weight_shares(
        {who: Trained(backbone(), n) for who, n in {"a": 1, "b": 100, "c": 10**12}.items()}
    )
    assert shares["c"] == pytest.approx(0.5)
    assert sum(shares.values()) == pytest.approx(1.0)


def test_who_may_not_say_how_many_images_it_has_weighs_as_the_median():
    counts = {"a": 10, "b": 30, "c": None, "d": 20}
    shares = weight_shares({who: Trained(backbone(), n) for who, n in counts.items()})
    assert shares["c"] == shares["d"]
    assert weight_shares({who: Trained(backbone(), None) for who in "ab"}) == {"a": 0.5, "b": 0.5}


def test_counters_become_the_lower_median():
    counted = [backbone(1.0, n=np.array(n)) for n in (7, 9, 2**62)]
    trained = {str(i): Trained(weights, 10) for i, weights in enumerate(counted)}
    average = average_backbones(trained, backbone(1.0, n=np.array(0)))
    assert average.weights["n"] == 9
    assert average.weights["n"].dtype == np.int64


def test_a_model_that_is_missing_is_no_update():
    strategy = strategy_of()
    request = TransferRequest.from_record(plain(asked(strategy)[0].content))
    step = request.step
    reply = TransferReply(step.site, "job-1", "", step.step_id, result=StepResult(n_train=9, n_classes=2))
    with pytest.raises(ModelError, match="sent no backbone"):
        trained_by(reply, step, ROSTER[step.site])
    with pytest.raises(TransferError, match="ended round 0 with 'memory'"):
        trained_by(replace(reply, state="memory", result=None), step, ROSTER[step.site])


def test_a_round_of_the_queue_is_averaged_and_signed():
    steps = [step_of(site) for site in SITES]
    models = {
        step.address: TravellingModel(step.network, "batch", step.site, step.task, step.step_id, weights)
        for step, (weights, _) in zip(steps, HONEST, strict=False)
    }
    counts = dict(zip(models, (100, 120, 80), strict=True))
    model, average = average_round(steps, models, counts, None, HUB)
    assert average.judged.dropped == {"dover/chest": "no reply"}
    assert TravellingModel.from_bytes(model.to_bytes(), sha256_hex(model.to_bytes())).site == "hub"
    require_average(model, step_of("anna", 1, sha256_hex(model.to_bytes())), HUB.public_key)


@pytest.mark.parametrize(
    ("round_number", "changes", "signer", "complaint"),
    [
        (2, {}, "hub", "another group or round"),
        (1, {"step_id": average_id("b2" * 32, 0)}, "hub", "another group or round"),
        (1, {}, "anna", "the aggregator that asks"),
        (1, {"network": Network(name="other", image_size=32)}, "hub", "expected tiny"),
    ],
)
def test_a_site_takes_no_other_average(round_number, changes, signer, complaint):
    model = replace(signed_average(backbone(), "batch", step_of("anna"), HUB), **changes)
    model = model.signed(cohorts.identity(signer))
    with pytest.raises(ModelError, match=complaint):
        require_average(model, step_of("anna", round_number, "0" * 64), HUB.public_key)
