"""Sites of transfer experiments that answer from a table, and a grid that asks them without threads."""

import hashlib
import itertools

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from sealed_wire import answering, heard, plain

from aggregator.config import HubConfig
from federation.canonical import sha256_hex
from federation.identity import Identity
from federation.transfer.augmentation import AugmentationPolicy, Operation
from federation.transfer.messages import (
    QUERY_ROLL_CALL,
    RUNNING,
    WANTS_MODEL,
    Offer,
    RollCallReply,
    RollCallRequest,
    TransferReply,
    TransferRequest,
)
from federation.transfer.model import TravellingModel
from federation.transfer.result import Progress, Score, StepResult
from federation.transfer.step import CotrainStep, SearchStep, TrainStep

EXACT = {"measured": True, "models": "exact"}


class FakeClock:
    """A clock that moves only when somebody waits."""

    def __init__(self, start=1e9):
        self.time = start

    def now(self):
        return self.time

    def wait(self, seconds):
        self.time += seconds


class FakeSite:
    """A site that trains one epoch per request; what it found it answers for ever."""

    def __init__(self, name, tasks, offer=None):
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
        self.identity = Identity(name, key)
        self.offers = tuple(Offer(task, **(offer or EXACT)) for task in tasks)
        self.models, self.done, self.epochs = {}, {}, {}
        self.asked = []
        self.online = True
        self.codes = {}
        self.twist = lambda request, reply: reply

    @property
    def name(self):
        return self.identity.name

    def roll_call(self, request):
        job = request.job
        return RollCallReply(self.name, job.job_id, job.nonce, self.offers)

    def work(self, request):
        step = request.step
        self.asked.append(step)
        if request.model:
            self.models[sha256_hex(request.model)] = request.model
        return self.twist(request, self._reply(request, step))

    def _reply(self, request, step):
        code = self.codes.get(step.task, self.codes.get(step.network.name))
        if code:
            return self.reply(request, code)
        if step.step_id in self.done:
            result, model = self.done[step.step_id]
            return self.reply(request, result=result, model=model)
        if step.model_id and step.model_id not in self.models:
            return self.reply(request, WANTS_MODEL)
        self.epochs[step.step_id] = self.epochs.get(step.step_id, 0) + 1
        if self.epochs[step.step_id] < step.recipe.epochs:
            progress = Progress(epoch=self.epochs[step.step_id], epochs=step.recipe.epochs, loss=0.5)
            return self.reply(request, RUNNING, progress=progress)
        self.done[step.step_id] = self.find(step)
        result, model = self.done[step.step_id]
        return self.reply(request, result=result, model=model)

    def reply(self, request, state="done", **told):
        job = request.job
        return TransferReply(self.name, job.job_id, job.nonce, request.step.step_id, state, **told)

    def find(self, step):
        model = b""
        if isinstance(step, TrainStep) and step.travels_to:
            model = self.model(step)
        if isinstance(step, CotrainStep) and step.round < step.rounds - 1:
            model = self.model(step)
        auroc = score_of(step)
        return StepResult(
            scores={name: Score(value=auroc, low=auroc, high=auroc) for name in ("auroc", "ba")},
            n_train=step.n_train or 100,
            n_measured=20,
            n_classes=2,
            epochs=step.recipe.epochs,
            seconds=1.0,
            model_id=sha256_hex(model) if model else None,
            augmentation=policy_of(step) if isinstance(step, SearchStep) else None,
        ), model

    def model(self, step):
        seed = int(step.step_id[:8], 16)
        weights = {"conv.weight": np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32)}
        named = (step.network, "batch", step.site, step.task, step.step_id, weights)
        data = TravellingModel(*named).signed(self.identity).to_bytes()
        self.models[sha256_hex(data)] = data
        return data


def score_of(step):
    """A score that only the step decides, between 0.5 and 1."""
    return 0.5 + int(step.step_id[:4], 16) / 2**17


def policy_of(step):
    operation = Operation(name="rotate", probability=0.5)
    return AugmentationPolicy(chains=((operation,),), origin=f"found by {step.address}")


class ScriptedGrid(Grid):
    """A grid whose nodes answer at once, one message after the other.

    A site is at the node where it is listed; what is sent to an offline one is lost or comes back as an
    error.
    """

    def __init__(self, sites, loses=False):
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        self.nodes = dict(enumerate(sites, start=100))
        self.loses = loses
        self.requests = []
        self.before_answer = lambda site, request: None
        self._replies, self._ids = {}, itertools.count()

    def set_run(self, run):
        pass

    @property
    def run(self):
        return Run.create_empty(1)

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None):
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self):
        return list(self.nodes)

    def push_messages(self, messages):
        ids = []
        for message in messages:
            name = f"message-{next(self._ids)}"
            message.metadata.__dict__["_message_id"] = name
            ids.append(name)
            reply = self._answer(message)
            if reply is not None:
                self._replies[name] = reply
        return ids

    def pull_messages(self, message_ids):
        return [self._replies.pop(i) for i in list(message_ids) if i in self._replies]

    def send_and_receive(self, messages, *, timeout=None):
        raise NotImplementedError

    def _answer(self, message):
        site = self.nodes.get(message.metadata.dst_node_id)
        if message.metadata.message_type != QUERY_ROLL_CALL and site is not None:
            request = TransferRequest.from_record(plain(message.content))
            self.requests.append(request)
            self.before_answer(site, request)
        if site is None or not site.online:
            error = Error(ErrorCode.NODE_UNAVAILABLE, "node unavailable")
            return None if self.loses else Message(error, reply_to=message)
        if message.metadata.message_type == QUERY_ROLL_CALL:
            answer = site.roll_call(RollCallRequest.from_record(heard(message, site.identity)))
        else:
            answer = site.work(request)
        if answer is None:
            return None
        record = answer if isinstance(answer, RecordDict) else answer.to_record(site.identity)
        return answering(message, site.identity, record)


def hub_of(folder, sites, **changes):
    """Return a hub file's content for some sites."""
    roster = [{"name": site.name, "public_key": site.identity.public_key} for site in sites]
    paths = {name: folder / name for name in ("catalogue", "space", "key")}
    return HubConfig.model_validate({"consortium": "Test consortium", "site": roster} | paths | changes)
