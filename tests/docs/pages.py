"""The pages of the documentation and their blocks, each with the comment above it that says how it is checked.

- ``run``: it is executed; what a console block shows is compared with what its commands print
- ``file: NAME``: it is written there before the page's commands run, ``~/`` being a home of the test's own
- ``config``: it is a config, whose profiles resolve
- ``pbs``, beside ``run``: its commands find the stand-in for PBS of tests/labs
- ``packaged``: it is executed where the page's files are installed as a package (tests/packaging)
- ``seen``: what a console block shows comes from a system that tests of pages do not have
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
]
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^>]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A fenced block, and how it is checked."""

    page: Path
    mark: str
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def marks(self) -> frozenset[str]:
        """What is said of it, but for the name of its file."""
        return frozenset(part.strip() for part in self.mark.split(",") if part and not part.strip().startswith("file:"))

    @property
    def file(self) -> str:
        """The name of the file that it is; empty where it is none."""
        return next((part.strip()[5:].strip() for part in self.mark.split(",") if part.strip().startswith("file:")), "")

    def write(self, folder: Path, home: Path) -> None:
        """Put the file that it is into the folder, or into the home where its name begins with ``~/``."""
        place = home / self.file[2:] if self.file.startswith("~/") else folder / self.file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(self.text, encoding="utf-8")


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, found["mark"] or "", found["language"], found["text"], text.count("\n", 0, found.start()) + 1)
        for found in BLOCK.finditer(text)
    ]


def blocks(language: str) -> list[Block]:
    """All blocks of a language, on all pages."""
    return [block for page in PAGES for block in blocks_of(page) if block.language == language]


def prose(page: Path) -> str:
    """The page without its blocks."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))
