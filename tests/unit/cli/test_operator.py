"""What `--listen` means."""

import pytest

from howdah.cli.exits import Exit, Failed
from howdah.cli.operator import listen_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        (":8080", ("", 8080)),
        ("8080", ("", 8080)),
        ("[::]:8080", ("::", 8080)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", ":-1"])
def test_what_is_none_is_refused_with_examples(text: str) -> None:
    with pytest.raises(Failed, match="write HOST:PORT, such as") as refused:
        listen_address(text)
    assert refused.value.code == Exit.INVALID
