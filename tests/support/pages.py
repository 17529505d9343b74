"""The pages of the documentation: what they say to type, and where they lead."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from tests.support.processes import ROOT

DOCS = sorted(ROOT.glob("docs/*.md"))

PAGES = [
    *sorted({*ROOT.glob("*.md")} - {ROOT / "CHANGELOG.md"}),
    *DOCS,
    *sorted(ROOT.glob("deploy/**/*.md")),
    *sorted(ROOT.glob("bridge/**/README.md")),
    *sorted(ROOT.glob("tests/**/README.md")),
]
"""Every page that says what is; the list of changes says what was."""

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


def blocks(page: Path, kind: str) -> list[str]:
    """The blocks of *page* that are of this *kind*, such as `sh`."""
    found = BLOCK.findall(text(page))
    return [textwrap.dedent(block) for _, of, block in found if of == kind]


def quoted(page: Path) -> list[str]:
    """What stands in backticks in the sentences of *page*."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page))


def shell(page: Path) -> list[str]:
    """Every line of the `sh` blocks of *page*; what is a file's content is left out."""
    joined = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    without = re.sub(r"<<'(\w+)'\n.*?^\1$", "", joined, flags=re.DOTALL | re.MULTILINE)
    return [line.strip() for line in without.splitlines() if line.strip()]


def commands(begin: str) -> list[str]:
    """Every command of the pages that begins with *begin*, in a block or a sentence.

    Also one that another program runs, such as Heroku's; none that a shell joins to others.
    """
    typed = (line for page in PAGES for line in (*shell(page), *quoted(page)))
    found = (re.fullmatch(rf"(?:[^#>&|$]* )?({begin}[^>&|]*)", line) for line in typed)
    return list(dict.fromkeys(one[1] for one in found if one))


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
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{named(page)}: {link}")
    return dead
