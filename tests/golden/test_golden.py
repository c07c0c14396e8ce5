"""The rendering of each case is the one that a reviewer has read; `make golden` writes it anew."""

from pathlib import Path

import pytest
import yaml

from golden.rendering import cases, rendered


@pytest.mark.parametrize("case", cases(), ids=[case.name for case in cases()])
def test_the_rendering_is_as_reviewed(case: Path) -> None:
    for name, text in rendered(case).items():
        assert (case / name).read_text() == text, f"run make golden and read the diff of {case.name}/{name}"


@pytest.mark.parametrize("case", cases(), ids=[case.name for case in cases()])
def test_no_credential_is_rendered(case: Path) -> None:
    manifest = yaml.safe_load((case / "manifest.yaml").read_text())
    clone = manifest["spec"].get("clone") or {}
    hushed = [clone[key] for key in ("s3_access_key_id", "s3_secret_access_key") if key in clone]
    text = "".join(rendered(case).values())
    assert not [word for word in hushed if word in text]


def test_there_are_cases() -> None:
    assert len(cases()) >= 4
