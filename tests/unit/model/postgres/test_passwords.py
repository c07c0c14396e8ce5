"""Verifiers against published vectors; those of real servers are in the adapter's tests."""

import base64

import pytest

from howdah.model.postgres.passwords import (
    is_verifier,
    matches,
    md5_verifier,
    new_verifier,
    prepared,
    scram_verifier,
)

# RFC 7677, section 3: user "user", password "pencil".
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
PENCIL = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_the_verifier_of_the_rfc_is_made() -> None:
    assert scram_verifier("pencil", SALT) == PENCIL


@pytest.mark.parametrize(
    ("password", "verifier", "answer"),
    [
        ("pencil", PENCIL, True),
        ("Pencil", PENCIL, False),
        ("", PENCIL, False),
        (PENCIL, PENCIL, True),  # a Secret that holds the verifier itself
        ("secret", md5_verifier("secret", "app"), True),
        ("secret", md5_verifier("secret", "other"), False),
        ("more", scram_verifier("more", b"salt", iterations=1000), True),
        ("x", "SCRAM-SHA-256$4096:not base64!$a:b", False),
        ("x", "SCRAM-SHA-256$4096:abc$a:b", False),
        ("clear", "clear", False),
    ],
)
def test_a_password_matches_its_own_verifier_only(password: str, verifier: str, answer: bool) -> None:
    assert matches(verifier, password, "app") is answer


def test_md5_is_of_password_and_role() -> None:
    assert md5_verifier("secret", "app") == "md56a422f785c9e20873908ce25d1736ae2"


def test_a_new_verifier_has_the_method_asked_for() -> None:
    assert new_verifier("pencil", "user", SALT) == PENCIL
    assert new_verifier("pencil", "user", SALT, "md5") == md5_verifier("pencil", "user")
    assert new_verifier(PENCIL, "user", SALT, "md5") == PENCIL
    assert is_verifier(PENCIL)
    assert not is_verifier("md5 is what I like")


@pytest.mark.parametrize(
    ("password", "result"),
    [
        ("I\u00adX", "IX"),  # RFC 4013, section 3
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0627\u0031", "\u0627\u0031"),  # refused (bidirectional): used as it is
        ("\u0007é", "\u0007é"),  # refused (control): used as it is
        ("\u00ad", "\u00ad"),  # nothing left: used as it is
        ("\u0007", "\u0007"),  # ASCII is never touched
    ],
)
def test_passwords_are_prepared_as_postgresql_does(password: str, result: str) -> None:
    assert prepared(password) == result
