"""Manifest files."""

from pathlib import Path

import pytest

from howdah.cli.documents import read_documents
from howdah.cli.exits import Exit, Failed


def test_a_manifest_means_what_it_means_to_kubectl(tmp_path: Path) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_text(
        "apiVersion: acid.zalan.do/v1\nkind: postgresql\nmetadata: {name: a, annotations: {since: 2026-11-26}}\n"
        "spec: {clone: {cluster: b, timestamp: 2026-11-26T12:30:00+01:00}, postgresql: {parameters: {work_mem: 12:30}}}\n"
    )
    (found,) = read_documents([file])
    assert found.body["metadata"]["annotations"] == {"since": "2026-11-26"}
    assert found.body["spec"]["clone"]["timestamp"] == "2026-11-26T12:30:00+01:00"
    assert found.body["spec"]["postgresql"]["parameters"] == {"work_mem": "12:30"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("!!int hunter2", "this is no int that can be read in line 2"),
        ("!!bool hunter2", "this is no bool that can be read in line 2"),
        ("9" * 5000, "this is no int that can be read in line 2"),
        ("[" * 100_000, "this is nested in itself, or deeper than 200 levels in line 2"),
        ("&a {hunter2: *a}", "this is nested in itself, or deeper than 200 levels in line 2"),
    ],
    ids=range(5),
)
def test_what_cannot_be_read_is_told_in_one_line_without_the_value(tmp_path: Path, value: str, said: str) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_text(f"kind: Secret\npassword: {value}\n")
    with pytest.raises(Failed) as caught:
        read_documents([file])
    assert (str(caught.value), caught.value.code) == (f"{file}: is not YAML: {said}", Exit.INVALID)
