"""Commands that are printed for a user to copy into a shell, whatever characters a path or a name holds."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import dvq_ray


def what_next(location: str, done: int) -> str:
    """What to do once a sweep has ended: look at its results or, where it has none, at its failures."""
    return analysis(location) if done else status(location)


def analysis(location: str) -> str:
    """Draws what the store holds."""
    return _command(*_program("analyse"), _operand(location))


def status(location: str) -> str:
    """Says how the store's sweep is doing."""
    return _command(*_program("status"), _operand(location))


def rerun(location: str, cell_id: str) -> str:
    """Computes one cell again."""
    rest = ["--"] if cell_id.startswith("-") else []
    return _command(*_program("rerun"), *rest, _operand(location), cell_id)


def sweep(location: str, name: str) -> str:
    """Resumes the sweep of that name in the store, from the stored sweep file if the store is a folder."""
    is_uri = "://" in location
    place, mark, query = location.partition("?") if is_uri else (location, "", "")
    results, _, folder = place.rpartition("/")
    file = "SWEEP_FILE" if is_uri else _operand(f"{location}/sweep.yaml")
    if not results and not is_uri:
        results = "/" if place.startswith("/") else "."
    renamed = ["--set", f"name={folder}"] if folder != name else []
    return _command(*_program("sweep"), file, "--results", results + mark + query, *renamed)


def read_cells(location: str) -> str:
    """A Python expression that reads the rows."""
    return f"pandas.read_parquet({location!r})"


def _program(name: str) -> tuple[str, ...]:
    """A checkout has no console script; an installed wheel, which holds the analysis, has no module `analysis`."""
    if (Path(dvq_ray.__file__).parent / "analysis").is_dir():
        return ("dvq-ray", name)
    return ("python", "-m", "analysis" if name == "analyse" else f"dvq_ray.{name}")


def _command(*words: str) -> str:
    return " ".join(map(_quoted, words))


def _operand(path: str) -> str:
    """A path that begins with a dash would be read as an option."""
    return f"./{path}" if path.startswith("-") else path


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    # Invisible characters are written as their bytes: shells read $'\033' as the byte of that number.
    return f"$'{''.join(map(_in_ansi_quotes, word))}'"


def _in_ansi_quotes(character: str) -> str:
    if character.isprintable() and character not in "\\'":
        return character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))
