"""What the README and `docs/` show: every command and block runs, links lead somewhere, and the website is built."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

import dvq_ray.api
from docs import make_reference, website
from dvq_ray.__main__ import COMMANDS, command
from dvq_ray.cli.compare import main as compare
from dvq_ray.declarations.metric import metrics_of
from dvq_ray.experiment.registry import built_in_experiments
from dvq_ray.sweep.spec import parse_sweep
from dvq_ray.sweep.yaml_writer import write_yaml
from dvq_ray.testing import QuantizerContract
from tests.pages import ROOT, Block, blocks, commands, pages

LINKED = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
]
NAMED = re.compile(r"`((?:dvq_ray|analysis|tests|examples|docs|sweeps|cluster|benchmarks)/[\w./-]*)`")
EXAMPLES = [path.read_text() for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".yaml")]
RUN = {
    "smoke": ["seeds=1", "fixed.steps=50"],
    "mine": ["seeds=1", "grids.product.steps=20"],
    "baseline": ["seeds=1"],
}
"""Sweeps that are run, and what is made smaller for that; others are planned."""
TINY: dict[str, Any] = {
    "trainable": "static_prior",
    "fixed": {"dimension": 16, "factors": 16, "train_samples": 64, "steps": 20},
    "grids": {
        "vq": {"quantizer": "vq", "codebook_size": 16},
        "dvq": {"quantizer": "dvq", "slices": 2, "codebook_size": 4},
    },
}
IMAGES = {"trainable": "learned_prior", "grids": {"vq": {"quantizer": "vq", "dimension": 16}}}
"""Sweeps that parts of sweep files are put into."""


class Reader:
    """Somebody who does in a folder of their own what the pages say, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for linked in ("sweeps", "examples"):
            (folder / linked).symlink_to(ROOT / linked)
        (folder / "results").mkdir()
        for name in ("reference", "reference/static_prior"):
            (folder / "results" / Path(name).name).symlink_to(ROOT / "results" / name)
        looked = {
            **TINY,
            "name": "decided",
            "seeds": {"least": 8, "most": 8, "until": {"metric": "test_mse", "half_width": 0.9}},
        }
        dvq_ray.api.run_sweep(looked, results=folder / "results", in_process=True)
        dvq_ray.api.run_sweep({**TINY, "name": "any"}, results=folder / "results", in_process=True)
        self.give_vectors()

    def give_vectors(self) -> None:
        """Few rows in place of those that a page makes, or that a user has."""
        rows = np.random.default_rng(0).normal(size=(300, 32)).astype("float32")
        for name in ("mine.npy", "embeddings.npy"):
            np.save(self.folder / name, rows)

    def follow(self, block: Block, names: dict[str, Any]) -> None:
        """Does what a block says; not with codes of a sweep that takes too long here."""
        if "code_prior" in block.text:
            return
        if block.language == "sh":
            for line in commands(block):
                self.run(line)
        elif block.language == "python":
            self.execute(block, names)
        elif block.language == "yaml":
            self.save(block)
        elif block.language == "text":
            for line in commands(block):
                if line.startswith("dvq-ray "):  # of a place that is not here
                    _, name, *words = shlex.split(line)
                    command(name).make_context(name, words)

    def run(self, line: str) -> None:
        words = shlex.split(line)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        elif words[:2] == ["python", "-m"] or words[0] == "dvq-ray":
            self.run_ours(self.program(words), line)
        else:
            assert words[0] in (".", ".venv/bin/python", ".venv/bin/ruff"), line

    @staticmethod
    def program(words: list[str]) -> list[str]:
        """The name of a command of ours, and its arguments."""
        if words[0] == "dvq-ray" or words[2] == "dvq_ray":
            return words[1:] if words[0] == "dvq-ray" else words[3:]
        return [words[2].removeprefix("dvq_ray.").replace("analysis", "analyse"), *words[3:]]

    def run_ours(self, words: list[str], line: str) -> None:
        name, *rest = words
        assert name in COMMANDS, line
        allowed: tuple[int, ...] = (0,)
        if name == "sweep":
            rest = self.sized(rest)
        elif name == "analyse":
            rest += [] if {"--item", "--needs"} & {*rest} else ["--list"]
            rest += [] if "--out" in rest else ["--out", "figures"]
        elif name == "compare":
            compare.make_context("compare", [*rest])
            if (self.folder / "results" / "compare-mine").exists():
                return  # one is enough
            rest = ["mine.npy", "--bits", "8", "--in-process", "--no-report", "--seeds", "2", "--time-budget", "2s"]
            allowed = (0, 3)
        if name in ("status", "analyse") and not Path(rest[0]).exists():
            Path(rest[0]).symlink_to(self.folder / "results" / "any")
        if name == "status":
            allowed = (0, 1, 3)
        done = CliRunner().invoke(command(name), rest)
        assert done.exit_code in allowed, f"{line}\n{done.output}\n{done.exc_info}"

    def sized(self, words: list[str]) -> list[str]:
        """A sweep made small where it is to be run, or planned."""
        name = YAML(typ="safe").load(Path(words[0]))["name"]
        if "--dry-run" in words or name not in RUN or (self.folder / "results" / name).exists():
            return [*words, *(["--dry-run"] if "--dry-run" not in words else [])]
        return [*words, "--in-process", *(word for value in RUN[name] for word in ("--set", value))]

    def execute(self, block: Block, names: dict[str, Any]) -> None:
        if any(block.text in example for example in EXAMPLES):
            return
        text = block.text
        if "load_model" in text:
            kept = pd.read_parquet("results/mine/cells")["cell_id"].iloc[0]
            text = re.sub(r'"[0-9a-f]{16}"', repr(kept), text)
            names.setdefault("vectors", np.load("mine.npy"))
        exec(text.replace("run_sweep(sweep, ", "run_sweep(sweep, in_process=True, "), names)
        self.give_vectors()
        for suite in (
            each for each in names.values() if isinstance(each, type) and issubclass(each, QuantizerContract)
        ):
            if suite is not QuantizerContract:
                suite().test_its_rate_is_that_of_its_codebooks()

    def save(self, block: Block) -> None:
        """Checks a sweep file and keeps it under its name; a part of one is put into one."""
        if any(block.text in example for example in EXAMPLES):
            return
        data = YAML(typ="safe").load(block.text)
        if "name" in data:
            parse_sweep(block.text, block.where)
            Path(f"{data['name']}.yaml").write_text(block.text)
        else:
            rest = IMAGES if "data" in data else TINY
            parse_sweep(write_yaml({"name": "part", **rest, **data}), block.where)


@pytest.mark.long
def test_every_command_and_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    reader, followed = Reader(tmp_path), 0
    for page in pages():
        names: dict[str, Any] = {}
        for block in blocks(page):
            try:
                reader.follow(block, names)
            except BaseException as error:
                pytest.fail(f"{block.where}: {type(error).__name__}: {error}")
            followed += 1
    assert followed > 50
    assert {path.name for path in (tmp_path / "results").iterdir()} >= {"smoke", "mine", "baseline", "compare-mine"}
    assert (tmp_path / "figures" / "static_prior-codes_used-over-codebook_size.png").exists()


@pytest.mark.parametrize("page", ["docs/extending.md", "docs/tutorial/own_quantizer.md"])
def test_classes_that_a_page_shows_are_those_of_the_examples(page: str) -> None:
    shown = [block for block in blocks(page) if block.language == "python" and "dvq_ray.testing" not in block.text]
    assert shown
    assert [block.where for block in shown if not any(block.text in example for example in EXAMPLES)] == []


@pytest.mark.parametrize("suite", ["ResidualVq", "RandomRows"])
def test_a_quantizer_of_the_examples_passes_the_suite_as_shown(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    shown = [block for page in pages() for block in blocks(page) if f"class Test{suite}(" in block.text]
    names: dict[str, Any] = {}
    exec(shown[0].text, names)
    tested = names[f"Test{suite}"]()
    tested.test_its_rate_is_that_of_its_codebooks()
    tested.test_learning_lowers_the_error()


def test_entry_points_are_in_the_groups_that_are_searched() -> None:
    (block,) = [block for block in blocks("docs/extending.md") if block.language == "toml"]
    assert {*tomllib.loads(block.text)["project"]["entry-points"]} == {"dvq_ray.quantizers", "dvq_ray.experiments"}


def test_the_readme_is_short_and_names_the_commands_that_set_everything_up() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert {"make results", "make test", "dvq-ray compare"} <= {*re.findall(r"make \w+|dvq-ray compare", text)}


@pytest.mark.slow
def test_the_table_of_the_readme_is_what_its_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (vectors,) = [block for block in blocks("README.md") if block.language == "python"]
    (table,) = [block for block in blocks("README.md") if block.language == "text"]
    exec(vectors.text, {})
    done = CliRunner().invoke(compare, ["mine.npy", "--bits", "32", "--in-process", "--no-report"])
    assert done.exit_code == 0, done.output
    printed = [line.split() for line in done.output.rpartition("32 bits, by")[2].splitlines()]
    rows = [[*words[:-4], words[-1]] for words in printed if len(words) > 7 and words[-6:-4] == ["32", "5"]]
    assert len(rows) == 4
    assert [line.split() for line in table.text.splitlines()[2:-1]] == rows  # without the columns for speed


# Links


def anchors(path: Path) -> set[str]:
    """Of the headings of a page, as GitHub and the website make them."""
    prose = "".join(piece for is_code, piece in website.parts(path.read_text()) if not is_code)
    headings = re.findall(r"^#+ +(.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED)
def test_links_and_named_files_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = [(ROOT / website.resolved(link, page), link.partition("#")[2]) for link in website.local_links(text)]
    assert [path for path, _ in targets if not path.exists()] == []
    assert [(path, anchor) for path, anchor in targets if anchor and anchor not in anchors(path)] == []
    files = [name for name in NAMED.findall(text) if "NAME" not in name and "EXPERIMENT" not in name]
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_every_page_is_linked_from_another_one() -> None:
    linked = {
        website.resolved(link, page) for page in LINKED for link in website.local_links((ROOT / page).read_text())
    }
    assert {page for page in LINKED if page.startswith("docs/")} - linked == set()


# Generated pages


def test_reference_pages_are_what_the_code_says_of_itself() -> None:
    written = make_reference.pages()
    assert {path.name for path in make_reference.FOLDER.iterdir()} == {*written}
    stale = [name for name, text in written.items() if (make_reference.FOLDER / name).read_text() != text]
    assert stale == [], "python -m docs.make_reference writes them again"


def test_reference_pages_name_every_field_and_column() -> None:
    own = make_reference.pages()["quantizers.md"]
    for experiment in built_in_experiments():
        page = make_reference.pages()[f"{experiment.name}.md"]
        assert [name for name in metrics_of(experiment.metrics) if f"| `{name}` |" not in page] == []
        fields = {field for settings in experiment.variants.values() for field in settings.model_fields} - {"quantizer"}
        assert [field for field in sorted(fields) if f"| `{field}` |" not in page + own] == []


# The notebook


def test_the_notebook_runs_and_compares_at_equal_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(ROOT / "examples")
    monkeypatch.setattr(sys, "path", [*sys.path])
    cells = json.loads(Path("analysis.ipynb").read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        assert not cell.get("outputs"), "committed without outputs, which nothing would keep up to date"
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    compared = names["compared"]
    assert set(compared["winner"]) == {"vq"}
    at = compared.loc[(64, 4096)]
    means = names["losses"].set_index(["quantizer", "dimension", "factors"])["mean"]
    assert at["mean"] == pytest.approx(means["dvq", 64, 4096] - means["vq", 64, 4096])
    assert len(names["axes"].containers) == 2


# The website


def test_the_website_is_built_without_a_warning_and_asks_no_other_server(tmp_path: Path) -> None:
    if not find_spec("material"):
        pytest.skip("needs the extra `docs`: make docs")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, timeout=120)
    pages = [*tmp_path.rglob("*.html")]
    assert len(pages) > 30
    loads = re.compile(r"""<(?:script|img|link|iframe)[^>]*?(?:src|href)=["']?(https?:[^"' >]+)""")
    assert {found for page in pages for found in loads.findall(page.read_text())} == set()
