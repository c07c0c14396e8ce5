"""A seeded defect: a patch with a header that says what it breaks and which tests must catch it."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
COPIED = ("src", "tests", "examples", "images", "requirements", "charts", "pyproject.toml")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", ".hypothesis")
APPLY_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Defect:
    """One patch. `caught_by`: pytest node ids, each of which must fail with it and pass without."""

    file: Path
    breaks: str
    caught_by: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.file.stem


def defects(names: tuple[str, ...] = ()) -> tuple[Defect, ...]:
    """All of them, or those whose file name holds one of these words. Raises ValueError for a header that lacks a line."""
    files = sorted(HERE.glob("*.patch"))
    return tuple(_read(file) for file in files if not names or any(name in file.stem for name in names))


def _read(file: Path) -> Defect:
    header = file.read_text().partition("\n--- ")[0]
    breaks = re.findall(r"^Breaks: (.+)$", header, re.MULTILINE)
    caught_by = re.findall(r"^Caught-by: (\S+)$", header, re.MULTILINE)
    if len(breaks) != 1 or not caught_by:
        raise ValueError(f"{file.name}: expected one line `Breaks: …` and at least one `Caught-by: tests/…::test_…`")
    return Defect(file, breaks[0], tuple(caught_by))


def copied(to: Path) -> None:
    """The working tree, as far as tests need it."""
    for part in COPIED:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, to / part, ignore=NOT_COPIED, symlinks=True)
        else:
            shutil.copy2(source, to / part)


def apply(defect: Defect, tree: Path, *options: str) -> str | None:
    """Apply the patch in `tree` (`--reverse` takes it back, `--check` only asks); why it does not fit, or None.

    One line of context has to fit. GIT_DIR is none, so that git takes the folder for what it is, wherever it lies.
    """
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-C1", *options, str(defect.file)],
        cwd=tree,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "GIT_DIR": "/nonexistent", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=APPLY_TIMEOUT_S,
        check=False,
    )
    return None if done.returncode == 0 else done.stderr.strip()
