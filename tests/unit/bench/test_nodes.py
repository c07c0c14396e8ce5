"""When a round of the benchmark on real nodes may begin."""

from pathlib import Path

import pytest
from bench.nodes import left_on_nodes, unwritten_mib

UID = "5a37d5e4"


@pytest.mark.parametrize(
    "left",
    [
        f"lane/node-1/kubelet/pods/{UID}",
        f"cgroup/howdah-7/node-1/kubepods/burstable/pod{UID}",
        f"cgroup/pids/howdah-7/node-1/kubepods/pod{UID}",
    ],
)
def test_what_a_kubelet_has_not_taken_away_is_found_on_any_node(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir(parents=True)
    (tmp_path / "lane/node-1/kubelet/pods/of-another").mkdir(parents=True)
    assert left_on_nodes(tmp_path / "lane", [UID, "gone"], tmp_path / "cgroup") == [tmp_path / left]
    assert left_on_nodes(tmp_path / "lane", ["gone"], tmp_path / "cgroup") == []


def test_what_has_to_be_written_yet_is_a_part_of_memory() -> None:
    assert 0 <= unwritten_mib() < 1024 * 1024
