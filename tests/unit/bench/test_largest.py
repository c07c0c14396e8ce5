"""The manifest whose rendering is measured has every field there is, at every depth."""

import yaml
from bench.pure import LARGEST

from contract.manifests import SPEC
from contract.schemas import paths
from contract.test_any_input import shapes
from howdah.model.spec import REMOVED_FIELDS

REMOVED = tuple(REMOVED_FIELDS.values())


def test_the_largest_manifest_has_every_field() -> None:
    spec = yaml.safe_load(LARGEST.read_text())["spec"]
    every = {path for path, _ in paths(SPEC) if path.partition(".")[0] not in (*REMOVED, "standby")}

    # A cluster that follows another one cannot be a copy of one as well; accounts are Azure's, and a Secret must be there.
    stores = ("archive", "logicalBackup.target")
    of_others = {f"{store}.{field}" for store in stores for field in ("storageAccount", "credentialsSecret")}
    assert sorted(every - of_others - set(shapes(spec, SPEC))) == []
