"""Infrastructure roles that the reference loses are made, and that is a listed difference."""

import shutil
from pathlib import Path

import pytest
import yaml

from compat.compare import CASES, Totals, compare_folders, documents


def changed(case: str, folder: Path, file: str, edit: dict[str, object]) -> Totals:
    shutil.copytree(CASES / case, folder / case)
    bodies = documents(folder / case / file)
    for key, value in edit.items():
        *path, last = key.split("/")
        place = bodies[0]
        for step in path:
            place = place[int(step) if step.isdigit() else step]
        place[last] = value
    (folder / case / file).write_text(yaml.safe_dump_all(bodies))
    return compare_folders([folder])


@pytest.mark.parametrize(("number", "read"), [(4, 4), (5, 4), (6, 5)])
def test_a_numbered_role_is_read_whatever_the_number_of_keys(number: int, read: int, tmp_path: Path) -> None:
    edit = {f"stringData/{key}{n}": f"{value}{n}" for n in range(3, number + 1) for key, value in ROLE.items()}
    totals = changed("infrastructure-roles-old", tmp_path, "extra.yaml", edit)
    # What the reference reads would be in its recording: that it is not in this one is not explained by the rule.
    assert [d.name.partition(".")[0] for d in totals.unexplained] == [f"robot{n}" for n in range(3, read + 1)]
    assert sum(totals.intended.values()) == BEFORE + number - read


def test_a_default_of_an_operator_configuration_is_heeded(tmp_path: Path) -> None:
    edit = {
        "configuration/kubernetes/infrastructure_roles_secrets/1/userkey": "nosuch",
        "configuration/kubernetes/infrastructure_roles_secrets/1/defaultuservalue": "robot_default",
    }
    totals = changed("infrastructure-roles-new", tmp_path, "configuration.yaml", edit)
    assert [d.name.partition(".")[0] for d in totals.unexplained] == ["robot-other"]  # recorded, and asked no more
    assert sum(totals.intended.values()) == BEFORE + 1


ROLE = {"user": "robot", "password": "secret", "inrole": "robot_zmon"}
BEFORE = compare_folders([CASES / "infrastructure-roles-old"]).intended.total()
