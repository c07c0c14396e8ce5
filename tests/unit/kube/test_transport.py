import pytest

from howdah.kube.errors import KubeError, Unreachable, api_error
from howdah.kube.transport import RETRIES, Call, retry_delay_s

CREATE = Call("create", "pods", "create pods", "POST", "/")
APPLY = Call("apply", "pods", "apply pods", "PATCH", "/", repeatable=True)


def refused(code: int, retry_after_s: float | None = None) -> KubeError:
    return api_error("x", code, b"", retry_after_s=retry_after_s)


ONCE = Call("delete", "pods", "delete pods", "DELETE", "/", repeatable=True, once=True)


@pytest.mark.parametrize(
    ("error", "call", "attempt", "again"),
    [
        (refused(429), CREATE, 0, True),  # nothing was done
        (refused(429), CREATE, RETRIES, False),
        (refused(503), CREATE, 0, False),  # it may have been done
        (refused(503), APPLY, 0, True),
        (refused(500), APPLY, 0, False),
        (refused(409), APPLY, 0, False),
        (refused(401), CREATE, 0, True),  # once, with the credential read anew
        (refused(401), CREATE, 1, False),
        (Unreachable("x"), CREATE, 0, False),
        (Unreachable("x"), APPLY, 0, True),
        (Unreachable("x"), APPLY, 1, False),
        (refused(429), ONCE, 0, False),
        (refused(503), ONCE, 0, False),
        (refused(401), ONCE, 0, False),
        (Unreachable("x"), ONCE, 0, False),
    ],
)
def test_a_call_is_sent_again_only_where_that_is_safe(error: KubeError, call: Call, attempt: int, again: bool) -> None:
    assert (retry_delay_s(error, call, attempt) is not None) is again


def test_the_server_s_wish_is_the_shortest_wait() -> None:
    assert retry_delay_s(refused(429, retry_after_s=9.0), CREATE, 0) == 9.0


def test_waits_grow() -> None:
    waits = [retry_delay_s(refused(429), CREATE, attempt) or 0 for attempt in range(RETRIES)]
    assert all(0.1 * 2**n <= wait <= 0.2 * 2**n for n, wait in enumerate(waits))
