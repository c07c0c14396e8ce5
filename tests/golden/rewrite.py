"""Writes the golden files anew: `python -m golden.rewrite`. Read the diff: it is what users would see change."""

from golden.rendering import cases, rendered


def main() -> None:
    """All cases."""
    for case in cases():
        for name, text in rendered(case).items():
            (case / name).write_text(text)
            print(case.name, name)


if __name__ == "__main__":
    main()
