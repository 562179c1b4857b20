"""Where a name in a sweep file leads: a built-in file, an installed package's entry point, or `package.module:NAME`.

The driver, its workers, `status`, `rerun` and the analysis all resolve names here. A built-in name is hashed as it is;
any other under its full name, `distribution/name` or `package.module:NAME`, so that nobody's `rvq` is mistaken for
somebody else's.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from dvq_ray.problems import nearest

_Kind = TypeVar("_Kind")
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_FULL = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)/([^/:]+)")


class ProviderError(ValueError):
    """A name that leads nowhere, to two things, or to something that cannot be used; says what was tried."""


@dataclass(frozen=True, kw_only=True)
class Provided(Generic[_Kind]):
    """What a name leads to."""

    name: str
    """As it is hashed into cell ids and stored in rows."""
    value: _Kind
    path: str
    """`module:NAME`, where it was imported from."""
    version: str
    """`distribution version`, or a digest of the module's source where no installed distribution has it; empty for
    what is built in."""


_KINDS: dict[str, Providers[Any]] = {}
"""Everything that names lead to, by its group."""


def brought() -> list[Provided[Any]]:
    """All that was found so far, of every kind, and is not built in."""
    return [provided for kind in _KINDS.values() for provided in kind.brought()]


def of_group(group: str) -> Providers[Any]:
    """Those of a kind, by the group of its entry points; the module that declares them has been imported."""
    return _KINDS[group]


class Providers(Generic[_Kind]):
    """All that can be found of one kind."""

    def __init__(self, kind: str, *, package: str, attribute: str, check: Callable[[Any, str], _Kind]) -> None:
        """`check` takes an object and the name that led to it; raises ValueError where it is not of this kind."""
        self.kind = kind
        self.group = package
        """Of entry points; it is named after the package of those that are built in."""
        self._package = package
        self._attribute = attribute
        self._check = check
        self._found: dict[str, Provided[_Kind]] = {}
        _KINDS[self.group] = self

    def built_in(self) -> list[str]:
        """Names of the files in the built-in folder."""
        return list(_files(self._package))

    def names(self) -> list[str]:
        """All that need no module to be named: those built in, then those of installed packages."""
        return [*self.built_in(), *sorted({point.name for point in _entry_points(self.group)} - {*self.built_in()})]

    def find(self, name: str, usable: Sequence[str] | None = None) -> Provided[_Kind]:
        """What the name leads to. Raises `ProviderError`, which names the `usable` ones of those built in."""
        if name not in self._found:
            self._found[name] = self._resolve(name, self.names() if usable is None else usable)
        return self._found[name]

    def learn(self, name: str, path: str, version: str) -> None:
        """Makes a name lead to `module:NAME`: a worker has a package's code, and not what pip knows of it."""
        if name not in self._found:
            self._found[name] = self._imported(name, path, version)

    def brought(self) -> list[Provided[_Kind]]:
        """All that was found so far and is not built in."""
        return [provided for provided in self._found.values() if provided.version]

    def _resolve(self, name: str, usable: Sequence[str]) -> Provided[_Kind]:
        claims = [point for point in _entry_points(self.group) if point.name == name]
        if name in self.built_in():
            if claims:
                raise ProviderError(f"{name} is built in, and {_listed(claims)} claims it too; {_full_names(claims)}")
            module = f"{self._package}.{name}"
            value = self._checked(getattr(importlib.import_module(module), self._attribute), name)
            return Provided(name=name, value=value, path=f"{module}:{self._attribute}", version="")
        if len(claims) > 1:
            raise ProviderError(f"{name} is claimed by {_listed(claims)}; {_full_names(claims)}")
        if full := _FULL.fullmatch(name):
            distribution, short = full.groups()
            claims = [
                point for point in _entry_points(self.group)
                if point.name == short and _same_distribution(_distribution(point), distribution)
            ]  # fmt: skip
            if not claims:
                raise ProviderError(
                    f"{name}: no installed package {distribution} has the entry point {short} in the group {self.group}"
                )
        if claims:
            (claim,) = claims[:1]
            version = f"{_distribution(claim)} {claim.dist.version if claim.dist else 'unknown'}"
            path = claim.value.partition("[")[0].strip()
            return self._imported(f"{_distribution(claim)}/{claim.name}", path, version)
        if ":" in name:
            if not _PATH.fullmatch(name):
                raise ProviderError(f"{name} is not of the form package.module:NAME")
            return self._imported(name, name)
        near = nearest(name, usable)
        hint = f"did you mean {near}? " if near else ""
        raise ProviderError(
            f"{hint}allowed: {', '.join(usable)}, or package.module:NAME "
            f"(tried: built-in {self.kind}s, entry points of the group {self.group})"
        )

    def _imported(self, name: str, path: str, version: str = "") -> Provided[_Kind]:
        module_name, _, attribute = path.partition(":")
        module = _import(name, module_name)
        value: Any = module
        for part in attribute.split("."):
            if not hasattr(value, part):
                near = nearest(part, [each for each in vars(module) if each[0] != "_"])
                hint = f"; did you mean {near}?" if near else ""
                raise ProviderError(f"{name}: {module_name} ({module.__file__}) has no {part}{hint}")
            value = getattr(value, part)
        checked = self._checked(value, name)
        return Provided(name=name, value=checked, path=path, version=version or _version(module))

    def _checked(self, value: Any, name: str) -> _Kind:
        try:
            return self._check(value, name)
        except ValueError as error:
            raise ProviderError(f"{name} is not a {self.kind} that can be used: {error}") from error


def _import(name: str, module: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # a console script does not look into the working folder, `python -m` does
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module == missing or module.startswith(f"{missing}."):
            raise ProviderError(
                f"{name}: there is no module {missing} (tried the installed packages and {Path.cwd()})"
            ) from error
        raise ProviderError(f"{name}: {module} needs {missing}, which is not installed") from error
    except (Exception, SystemExit) as error:
        raise ProviderError(f"{name}: importing {module} failed: {type(error).__name__}: {error}") from error


@cache
def _files(package: str) -> tuple[str, ...]:
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return tuple(sorted(module.name for module in found if not module.name.startswith("_")))


def _entry_points(group: str) -> Sequence[EntryPoint]:
    return tuple(_all_entry_points().select(group=group))


@cache
def _all_entry_points() -> Any:
    # It reads a file of each installed package. Its type depends on the version of Python, its `select` does not.
    return importlib.metadata.entry_points()


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"


def _same_distribution(one: str, other: str) -> bool:
    """By the rule of package names, in which case and runs of `-`, `_` and `.` do not count."""
    return re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", other).lower()


def _listed(claims: Sequence[EntryPoint]) -> str:
    return " and ".join(f"{_distribution(claim)} ({claim.value})" for claim in claims)


def _full_names(claims: Sequence[EntryPoint]) -> str:
    return f"write {' or '.join(f'{_distribution(claim)}/{claim.name}' for claim in claims)}"


def _version(module: ModuleType) -> str:
    package = module.__name__.partition(".")[0]
    for distribution in importlib.metadata.packages_distributions().get(package, ()):
        return f"{distribution} {importlib.metadata.version(distribution)}"
    try:
        content = Path(module.__file__ or "").read_bytes()
    except OSError:
        return "unknown"
    return f"source-{hashlib.sha256(content).hexdigest()[:16]}"


def code_of(provided: Sequence[Provided[Any]]) -> list[str]:
    """Folders and files of the top-level packages and modules that these were imported from."""
    places = []
    for module in dict.fromkeys(each.path.partition(":")[0].partition(".")[0] for each in provided):
        found = importlib.util.find_spec(module)
        folders = list(found.submodule_search_locations or ()) if found else []
        places += folders or ([found.origin] if found and found.origin else [])
    return places
