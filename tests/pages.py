"""The blocks of the documentation: fenced ones by their language, indented ones by what they hold."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIRST = ("README.md", "docs/tutorial/first_sweep.md", "docs/tutorial/own_vectors.md", "docs/tutorial/own_quantizer.md")
"""Pages whose commands make what other pages use, in the order of a newcomer."""
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^(?: {4}.*)?\n)*^ {4}.*\n", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of code on a page."""

    page: str
    line: int
    language: str
    """`sh`, `python`, `yaml`, `toml` or `text`."""
    text: str

    @property
    def where(self) -> str:
        """The page and the line."""
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """All written pages, those of a newcomer first."""
    others = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
    generated = {page for page in others if page.startswith("docs/reference/") or page == "docs/protocol.md"}
    return [*FIRST, *(page for page in (*others, "CONTRIBUTING.md") if page not in {*FIRST, *generated})]


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [(match.start(), match[1] or "text", match[2]) for match in _FENCED.finditer(text)]
    without = _FENCED.sub(lambda match: re.sub(r"[^\n]", "x", match[0]), text)
    lists = re.sub(
        r"^([-*] .*\n(?:(?: {2,}.*)?\n)*)", lambda match: re.sub(r"[^\n]", "x", match[0]), without, flags=re.M
    )
    for match in _INDENTED.finditer(lists):
        code = textwrap.dedent(text[match.start() : match.end()]).strip("\n") + "\n"
        found.append((match.start(), _language(code), code))
    for start, language, code in sorted(found):
        yield Block(page=page, line=text.count("\n", 0, start) + 1, language=language, text=code)


def _language(code: str) -> str:
    if re.match(r"(dvq-ray|python -m|make|\.venv/bin)", code):
        return "sh"
    if re.match(r"(from|import) ", code):
        return "python"
    return "yaml" if re.match(r"\w+: ", code) else "text"


def commands(block: Block) -> list[str]:
    """The commands of a block, without comments and the paths that they set."""
    lines = [re.sub(r"\s+# .*", "", line).removeprefix("PYTHONPATH=examples ") for line in block.text.splitlines()]
    return [line.strip() for line in lines if line.strip()]
