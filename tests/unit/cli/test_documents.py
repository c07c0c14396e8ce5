"""Manifest files."""

from pathlib import Path

from howdah.cli.documents import read_documents


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
