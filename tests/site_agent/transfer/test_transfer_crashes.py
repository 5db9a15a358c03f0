"""A site may die at any write of a step: asked again it goes on and ends with the same result and model."""

import os
from pathlib import Path

import pytest
from factories import make_identity
from transfer_site import model_of, train, write_transfer_site

from federation.canonical import sha256_hex

PRIMITIVES = [(os, "fsync"), (os, "write"), (Path, "replace"), (Path, "unlink")]
MOST = 200


class PowerFailure(BaseException):
    """What no handler catches."""


def each_write(patch, before):
    """Call ``before`` at every write, until it has raised; a dead process writes no more."""
    dead = []

    def wrapped(real):
        def called(*args, **keywords):
            if dead:
                raise PowerFailure
            try:
                before()
            except PowerFailure:
                dead.append(1)
                raise
            return real(*args, **keywords)

        return called

    for owner, name in PRIMITIVES:
        patch.setattr(owner, name, wrapped(getattr(owner, name)))


def finish_dying_at(site, step, data, turn):
    """Ask until the step ends, with a power failure at the given write; return the last reply."""
    left = [None] * turn

    def before():
        if not left:
            raise PowerFailure
        left.pop()

    with pytest.MonkeyPatch.context() as patch:
        each_write(patch, before)
        try:
            return site.finish(step, model=data)[-1], False
        except PowerFailure:
            pass
    return site.finish(step, model=data)[-1], True


def test_a_kill_at_every_write_loses_nothing_that_was_said(tmp_path):
    data = model_of(make_identity("bern", tmp_path)).to_bytes()
    step = train(travels_to=("bern",), start=sha256_hex(data))
    whole = write_transfer_site(tmp_path / "whole")
    expected = whole.finish(step, model=data)[-1].result.scores
    for turn in range(MOST):
        site = write_transfer_site(tmp_path / str(turn), n_images=4)
        reply, died = finish_dying_at(site, step, data, turn)
        assert (reply.state, reply.result.scores) == ("done", expected)
        assert reply == site.ask(step)
        assert len(site.events("transfer-model-left")) >= 2
        if not died:
            break
    assert 10 < turn < MOST - 1


def test_what_a_crash_left_of_a_finished_step_is_removed_when_it_is_asked_for_again(anna):
    step = train()
    folder = anna.site.state.folder / "transfer" / step.step_id
    anna.finish(step)
    (folder / "checkpoint.safetensors").write_text("2")
    anna.ask(step)
    assert {path.name for path in folder.iterdir()} == {"ended.json"}
