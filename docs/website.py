"""A hook of MkDocs: brings files of the repository that pages link to into the website, so that no link is dead.

The README is the first page. Other Markdown files become pages, code and notebooks become pages that show them, and
pictures are copied. A link to a folder becomes text. Pages that the navigation does not name are added to it.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = "docs"
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "bash", ".toml": "toml"}
PICTURES = {".png", ".svg", ".jpg"}


def parts(text: str) -> Iterator[tuple[bool, str]]:
    """The text in order, in pieces: whether each is code, and the piece."""
    for index, piece in enumerate(re.split(r"(^```.*?^```$|^~~~~.*?^~~~~$)", text, flags=re.MULTILINE | re.DOTALL)):
        yield index % 2 == 1, piece


def local_links(text: str) -> list[str]:
    """Targets of links and pictures, other than addresses; those in code are left out."""
    found = [
        match[2].partition("#")[0] for is_code, piece in parts(text) if not is_code for match in LINK.findall(piece)
    ]
    return [link for link in found if link and "://" not in link and not link.startswith("mailto:")]


def resolved(link: str, page: str) -> str:
    """The path in the repository that a link on a page leads to; the page itself for an anchor alone."""
    target = link.partition("#")[0]
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) if target else page


def place(path: str) -> str:
    """Where a file of the repository lies among the pages."""
    if path == "README.md":
        return "index.md"
    if path.startswith(f"{DOCS}/") and path.endswith(".md"):
        return path.removeprefix(f"{DOCS}/")
    return path if Path(path).suffix in {*PICTURES, ".md"} else f"{path}.md"


def content(path: str) -> str:
    """A file of the repository as Markdown."""
    text, suffix = (ROOT / path).read_text(encoding="utf-8"), Path(path).suffix
    if suffix == ".md":
        return text
    if suffix == ".ipynb":
        cells = [("".join(cell["source"]), cell["cell_type"]) for cell in json.loads(text)["cells"]]
        return "\n\n".join(source if kind == "markdown" else f"```python\n{source}\n```" for source, kind in cells)
    return f"# {path}\n\n~~~~ {LANGUAGES.get(suffix, 'text')}\n{text}\n~~~~\n"


@cache
def linked_files() -> Mapping[str, str]:
    """By place, the files of the repository on the website."""
    todo, found = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / DOCS).rglob("*.md"))], {}
    while todo:
        path = todo.pop()
        if place(path) in found or not (ROOT / path).is_file():
            continue
        found[place(path)] = path
        if path.endswith(".md"):
            todo += [resolved(link, path) for link in local_links((ROOT / path).read_text(encoding="utf-8"))]
    return found


def relinked(text: str, path: str) -> str:
    """The text of a page, with links to where files lie on the website."""

    def link(match: re.Match[str]) -> str:
        target, _, anchor = match[3].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        to = resolved(target, path)
        if (ROOT / to).is_dir():
            return match[2]
        to = posixpath.relpath(place(to), posixpath.dirname(place(path)) or ".")
        return f"{match[1]}[{match[2]}]({to}{'#' if anchor else ''}{anchor})"

    return "".join(piece if is_code else LINK.sub(link, piece) for is_code, piece in parts(text))


# What MkDocs calls


def on_config(config: Any) -> Any:
    """Adds pages that the navigation does not name: those of the reference to it, all others at the end."""
    named = {*re.findall(r"[\w/]+\.md", str(config["nav"]))}
    others = [where for where in sorted(linked_files()) if where.endswith(".md") and where not in named]
    (reference,) = [each["Reference"] for each in config["nav"] if "Reference" in each]
    reference += [where for where in others if where.startswith("reference/")]
    rest = [where for where in others if not where.startswith("reference/")]
    config["nav"].append({"Files": rest})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the files of the repository that pages link to."""
    from mkdocs.structure.files import File

    for where, path in linked_files().items():
        if path.startswith(f"{DOCS}/") and path.endswith(".md"):
            continue
        if Path(path).suffix in PICTURES:
            files.append(File(path, str(ROOT), config["site_dir"], config["use_directory_urls"]))
        else:
            files.append(File.generated(config, where, content=content(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrites links."""
    return relinked(markdown, linked_files()[page.file.src_uri])
