"""Events of a site's log that are read again, by name; who writes one says there what it holds."""

SENT = "sent"
"""A reply is about to leave: job, to which aggregator's key, bytes; without this event none leaves."""

MODEL_LEFT = "transfer-model-left"
"""A model is about to leave: job, step, task, model, for which sites."""

RELEASED, SENT_AGAIN = "released", "sent-again"
"""A fingerprint or a part in a sum leaves for the first time: job, task, mode; or once more."""

FAILED, REFUSED, TRANSFER_FAILED, ROUND = "failed", "refused", "transfer-failed", "round"
"""Something was not done: job, code, text, mostly a task. A round's has the code ``done`` if it was."""
