"""The book of addresses on a full disk, and after a power cut."""

from pathlib import Path

import pytest

from full_disk import full_disk
from howdah.local.node.addresses import Addresses


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "addresses.json"


def test_a_pod_keeps_its_address_over_restarts(path: Path) -> None:
    first = Addresses(path, "p").take("ns/a")
    book = Addresses(path, "p")
    assert book.take("ns/a") == first
    assert book.take("ns/b") != first
    book.give_back("ns/a")
    assert "ns/a" not in path.read_text()


def test_an_address_that_cannot_be_written_down_is_not_given(path: Path) -> None:
    book = Addresses(path, "p")
    kept = book.take("ns/a")
    with full_disk():
        for _ in range(2):
            with pytest.raises(OSError, match="File too large"):
                book.take("ns/b")
        assert book.take("ns/a") == kept
    assert Addresses(path, "p").take("ns/a") == kept


def test_the_end_of_a_pod_needs_no_room(path: Path) -> None:
    book = Addresses(path, "p")
    book.take("ns/a")
    with full_disk():
        book.give_back("ns/a")
    book.take("ns/b")
    assert "ns/a" not in path.read_text()


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"block": "127.33.1.0/24"}', None])
def test_a_torn_book_is_made_again_from_what_pods_show(path: Path, torn: str | None) -> None:
    if torn is not None:
        path.write_text(torn)
    book = Addresses(path, "p")
    book.remember({"ns/a": "127.33.7.9", "ns/b": "127.33.7.1", "ns/other": "10.0.0.1"})
    assert book.block == "127.33.7.0/24"
    again = Addresses(path, "p")
    assert [again.take("ns/a"), again.take("ns/b")] == ["127.33.7.9", "127.33.7.1"]
    assert again.take("ns/c") not in ("127.33.7.9", "127.33.7.1")


def test_a_whole_book_counts_more_than_what_is_shown(path: Path) -> None:
    book = Addresses(path, "p")
    mine = book.take("ns/a")
    book.remember({"ns/a": "127.33.7.9", "ns/b": mine})
    assert book.take("ns/a") == mine
    assert book.take("ns/b") != mine


def test_a_torn_book_is_made_again_on_a_full_disk(path: Path) -> None:
    path.write_text("")
    book = Addresses(path, "p")
    with full_disk():
        book.remember({"ns/a": "127.33.7.9"})
        assert book.take("ns/a") == "127.33.7.9"
