"""A software bill of materials of one image, CycloneDX 1.5, on standard output: Python distributions and Debian packages.

usage: sbom.py IMAGE PATH_OF_HOWDAH ROOT

Read is what is installed below ROOT: the metadata of distributions, with the bills that they bring of what was built into them
(PEP 770), and the state of dpkg (`status`, or one file a package in `status.d`) with the licences of their copyright files.
Only the standard library is needed. Same image, same bytes.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

Json = dict[str, Any]
_FILES = ("usr/local/lib/python3*/dist-packages", "usr/local/lib/python3*/site-packages")
_LONGEST_NAME = 64
PART = " has "  # in the reference of what was built into a distribution, after the distribution's own


def document(image: str, version: str, root: Path) -> Json:
    """The whole bill."""
    own = {
        "type": "container",
        "bom-ref": "image",
        "name": f"howdah/{image}",
        "version": version,
        **_licences(["Apache-2.0"]),
    }
    components = sorted(
        [*python_components(root), *debian_components(root), *system_components(root)],
        key=lambda component: component["bom-ref"],
    )
    built_in = {c["bom-ref"]: c["bom-ref"].partition(PART)[0] for c in components if PART in c["bom-ref"]}
    wholes = sorted(set(built_in.values()))
    body = json.dumps([own, components], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, body)}",
        "version": 1,
        "metadata": {"component": own},
        "components": components,
        "dependencies": [
            {"ref": whole, "dependsOn": [p for p in built_in if built_in[p] == whole]} for whole in wholes
        ],
    }


def python_components(root: Path) -> Iterator[Json]:
    """One for each distribution, and one for each library and crate that was built into it."""
    folders = [str(folder) for pattern in _FILES for folder in root.glob(pattern)]
    for found in distributions(path=folders):
        name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
        own = _component(f"pkg:pypi/{name}@{found.version}", name, found.version, _python_licences(found))
        yield own
        parts = (part for bill in _brought(found) for part in bill.get("components", ()))
        by_purl = {part["purl"]: part for part in parts if "purl" in part and not _is(name, part)}
        for purl, part in by_purl.items():
            kept = {key: part[key] for key in ("name", "version", "licenses") if key in part}
            yield {"type": "library", "bom-ref": f"{own['bom-ref']}{PART}{purl}", "purl": purl, **kept}


def _brought(found: Distribution) -> Iterator[Json]:
    for file in found.files or ():
        if file.parent.name == "sboms" and file.suffix == ".json":
            yield json.loads(Path(str(file.locate())).read_text())


def _is(name: str, part: Json) -> bool:
    return re.sub(r"[-_.]+", "-", part["name"]).lower() == name and part["purl"].startswith("pkg:pypi/")


def _python_licences(found: Distribution) -> list[str]:
    """An expression where there is one, else what the classifiers say, else the first line of free text."""
    said = found.metadata.get("License-Expression")
    if said:
        return [said]
    classifiers = found.metadata.get_all("Classifier") or []
    named = [
        c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ") and c != "License :: OSI Approved"
    ]
    return named or (found.metadata.get("License") or "").strip().splitlines()[:1]


def system_components(root: Path) -> Iterator[Json]:
    """The distribution: scanners look up what is known of a package in its release."""
    name, version = _release(root)
    yield {"type": "operating-system", "bom-ref": f"{name}-{version}", "name": name, "version": version}


def _release(root: Path) -> tuple[str, str]:
    text = (root / "etc/os-release").read_text()
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return said["ID"].strip('"'), said["VERSION_ID"].strip('"')


def debian_components(root: Path) -> Iterator[Json]:
    """One for each installed package."""
    distribution = "-".join(_release(root))
    for package in _installed(root):
        name, version, arch = package["Package"], package["Version"], package["Architecture"]
        escaped = version.replace(":", "%3A").replace("+", "%2B")
        purl = f"pkg:deb/debian/{name}@{escaped}?arch={arch}&distro={distribution}"
        yield _component(purl, name, version, _debian_licences(root / "usr/share/doc" / name / "copyright"))


def _installed(root: Path) -> Iterator[Message]:
    files = [root / "var/lib/dpkg/status", *sorted((root / "var/lib/dpkg/status.d").glob("*"))]
    for file in files:
        for text in file.read_text().split("\n\n") if file.is_file() else ():
            package = HeaderParser().parsestr(text)
            if str(package["Status"]).endswith(" installed"):
                yield package


def _debian_licences(copyright_file: Path) -> list[str]:
    """The names in a machine-readable copyright file; others are left out, the file itself is in the image."""
    try:
        text = copyright_file.read_text(errors="replace")
    except OSError:
        return []
    named = (line.strip() for line in re.findall(r"^License: *(\S.*)$", text, re.MULTILINE))
    return sorted({name for name in named if len(name) <= _LONGEST_NAME}) if text.lstrip().startswith("Format:") else []


def _component(purl: str, name: str, version: str, licences: Iterable[str]) -> Json:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, **_licences(licences)}


def _licences(named: Iterable[str]) -> Mapping[str, Any]:
    given = [{"license": {"name": name}} for name in named if name]
    return {"licenses": given} if given else {}


def main(image: str, package: str, root: str) -> None:
    """Print it."""
    found = re.search(r'__version__ = "(.+)"', (Path(package) / "__init__.py").read_text())
    assert found is not None, "no version"
    json.dump(document(image, found[1], Path(root)), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
