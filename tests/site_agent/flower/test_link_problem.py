import email.utils
import errno
import socket
import ssl
import time

import httpx
import pytest

from federation.errors import DeploymentError, StoreError
from site_agent.flower.link_problem import explain

HUB = "hub.example.org:8000"


def raised_from(error, cause):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def connect_error(cause):
    return raised_from(httpx.ConnectError("failed"), cause)


def status_error(status, ahead_s=0.0):
    date = email.utils.formatdate(time.time() - ahead_s, usegmt=True)
    response = httpx.Response(status, headers={"date": date}, request=httpx.Request("POST", f"https://{HUB}"))
    return httpx.HTTPStatusError("refused", request=response.request, response=response)


def certificate_error(code):
    error = ssl.SSLCertVerificationError("failed")
    error.verify_code = code
    return connect_error(error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (certificate_error(10), "has expired"),
        (certificate_error(62), "another name"),
        (certificate_error(20), "did not sign"),
        (connect_error(ssl.SSLError(1, "WRONG_VERSION_NUMBER")), "does not speak TLS"),
        (connect_error(socket.gaierror(-2, "unknown")), "name in hub.example.org:8000 is not known"),
        (connect_error(ConnectionRefusedError(errno.ECONNREFUSED, "refused")), "nothing listens"),
        (connect_error(OSError(errno.ENETUNREACH, "unreachable")), "cannot be reached"),
        (httpx.ConnectTimeout("late"), "allow outgoing connections"),
        (lambda: status_error(401), "does not accept this site's node key"),
        (lambda: status_error(412), "does not accept this site's node key"),
        (lambda: status_error(401, ahead_s=400), "s ahead of the hub"),
        (lambda: status_error(401, ahead_s=-400), "s behind the hub"),
        (lambda: status_error(500), "HTTP status 500"),
        (DeploymentError("refused [code: 2004] no"), "does not accept this site's node key"),
        (DeploymentError("refused [code: 1003] no"), "with code 1003"),
        (StoreError("state/node.key cannot be read", remedy="restore it"), "state/node.key cannot be read"),
        (KeyError("secret"), "(KeyError)"),
    ],
)
def test_a_problem_is_told_in_words_with_a_remedy(error, words):
    # A date that is to be compared with the clock is made when it is, not when tests are collected.
    told = explain(error() if callable(error) else error, HUB)
    assert words in told
    assert "→" in told
    assert "secret" not in told


def test_what_flower_raised_last_does_not_hide_the_reason():
    refused = raised_from(DeploymentError("Failed to initialize the connection"), status_error(412))
    assert "does not accept this site's node key" in explain(refused, HUB)
