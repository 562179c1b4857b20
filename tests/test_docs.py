"""The code in `docs/` is that of the examples, what a reader may copy runs, and links lead somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.__main__ import main as analyse
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.testing import QuantizerContract

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMED = re.compile(r"`((?:dvq_ray|analysis|tests|examples|docs|sweeps|cluster|benchmarks)/[\w./-]*)`")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_code_is_that_of_the_examples() -> None:
    sources = [path.read_text() for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".yaml")]
    shown = [block for block in [*blocks("python"), *blocks("yaml")] if "dvq_ray.testing" not in block]
    assert len(shown) == 4
    for block in shown:
        assert any(block in source for source in sources), f"not in examples/:\n{block}"


def test_the_contract_suite_is_used_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    (block,) = [block for block in blocks("python") if "dvq_ray.testing" in block]
    names: dict[str, type[QuantizerContract]] = {}
    exec(block, names)
    suite = names["TestResidualVq"]()
    suite.test_its_rate_is_that_of_its_codebooks()
    suite.test_learning_lowers_the_error()


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend("examples")
    commands = [shlex.split(line.removeprefix("PYTHONPATH=examples ")) for line in "".join(blocks("sh")).splitlines()]
    assert len(commands) == 3
    for _, _, module, *words in commands:
        place = ["--results", str(tmp_path)] if module == "dvq_ray.sweep" else ["--out", str(tmp_path / "figures")]
        done = CliRunner().invoke(sweep if module == "dvq_ray.sweep" else analyse, [*words, *place])
        assert done.exit_code == 0, done.output
    assert (tmp_path / "figures" / "static_prior-codes_used-over-codebook_size.png").exists()


def test_entry_points_are_in_the_groups_that_are_searched() -> None:
    (block,) = blocks("toml")
    assert {*tomllib.loads(block)["project"]["entry-points"]} == {"dvq_ray.quantizers", "dvq_ray.experiments"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []
    files = [name for name in NAMED.findall(text) if "NAME" not in name and "EXPERIMENT" not in name]
    assert [name for name in files if not (ROOT / name).exists()] == []
