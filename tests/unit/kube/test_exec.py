import pytest

from howdah.kube.errors import NotFound
from howdah.kube.exec import ExecError, exit_code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (b'{"metadata":{},"status":"Success"}', 0),
        (
            b'{"status":"Failure","reason":"NonZeroExitCode",'
            b'"details":{"causes":[{"reason":"ExitCode","message":"3"}]}}',
            3,
        ),
    ],
)
def test_exit_code_is_read_from_the_status(status: bytes, code: int) -> None:
    assert exit_code(status, "x") == code


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (b"no json", ExecError, "not JSON"),
        (b'{"status":"Failure","code":500,"message":"no such file: psqll"}', ExecError, "psqll"),
        (b'{"status":"Failure","code":404,"reason":"NotFound","message":"no container"}', NotFound, "no container"),
    ],
)
def test_a_command_that_never_ran_is_an_error(status: bytes, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        exit_code(status, "x")
