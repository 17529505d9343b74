"""The pages of the documentation: what they say to type, and where they lead."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.processes import ROOT

DOCS = sorted(ROOT.glob("docs/*.md"))

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *DOCS,
    *sorted(ROOT.glob("deploy/**/*.md")),
    *sorted(ROOT.glob("bridge/**/README.md")),
    *sorted(ROOT.glob("tests/**/README.md")),
]
"""Every page that somebody may read."""

COMING = {
    *("deploy", "scale"),
    *("operations", "security", "supply-chain", "privacy", "data-processing"),
    "stability",
}
"""Pages that are being written; links to them may lead nowhere yet."""

BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def text(page: Path) -> str:
    """What *page* says."""
    return page.read_text(encoding="utf-8")


def named(page: Path) -> str:
    """The page's path from the root."""
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """What *page* says outside its blocks."""
    return BLOCK.sub("", text(page))


def commands(begin: str) -> list[str]:
    """Every command of the pages that begins with *begin*, in a block or a sentence.

    The list of changes tells what was: its commands are not asked for.
    """
    found: dict[str, None] = {}
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        blocks = (block for _, kind, block in BLOCK.findall(text(page)) if kind == "sh")
        lines = (line.strip() for block in blocks for line in block.splitlines())
        found |= dict.fromkeys(line for line in lines if line.startswith(begin))
        found |= dict.fromkeys(re.findall(rf"`({begin}[^`\n]*)`", prose(page)))
    return list(found)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of *page*."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    words = (re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in plain)
    return {heading.replace(" ", "-") for heading in words}


def dead_links(page: Path) -> list[str]:
    """Each link of *page* into the repository that leads nowhere."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub("`[^`\n]*`", "", prose(page))):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if re.match("https?:|mailto:", link):
            continue
        if not target.exists() and target.stem.lower() in COMING:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{named(page)}: {link}")
    return dead
