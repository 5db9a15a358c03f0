"""Asks a hub or site on this machine whether it is ready, for container health checks.

``python -m federation.operations.probe PORT`` ends with 0 if it is, and with 1 and the reason if not.
"""

import sys
import urllib.error
import urllib.request

_PATIENCE_S = 30.0


def main(arguments: list[str]) -> int:
    """Ask; the only argument is the port of metrics and health."""
    url = f"http://127.0.0.1:{int(arguments[0])}/ready"
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE_S):
            return 0
    except urllib.error.HTTPError as error:
        sys.stderr.write(error.read().decode(errors="replace"))
    except OSError as error:
        sys.stderr.write(f"{url} does not answer: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
