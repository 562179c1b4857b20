"""From a store and a cell's id to its model."""

from __future__ import annotations

from pathlib import Path

from dvq_ray.experiment.named import named
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.models.files import ARRAYS, DESCRIPTION, KeptModel, ModelError, read_model
from dvq_ray.models.model import Model
from dvq_ray.providers import ProviderError
from dvq_ray.store import FINISHED, Store

_SHOWN = 3


def load_model(store: str | Path, cell_id: str) -> Model:
    """The model that the cell `cell_id` of a store (a folder or a URI) kept.

    A sweep keeps models where its file has `keep: [model]`. `encode` and `decode` are in the units of the data.

    Raises `ModelError` where there is no such model or its files are damaged, `StoreError` where the store cannot be
    read.
    """
    opened = Store(store)
    statuses = opened.statuses()
    if not statuses:
        raise ModelError(f"{opened.location}: is not a store with cells; allowed: RESULTS/NAME of a sweep that has run")
    if cell_id not in statuses:
        near = [each for each in statuses if cell_id and each.startswith(cell_id)][:_SHOWN]
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ModelError(f"{opened.location}: no cell {cell_id!r}; see the column cell_id{hint}")
    if statuses[cell_id] not in FINISHED:
        raise ModelError(
            f"{opened.location}: the cell {cell_id} has no model: its status is {statuses[cell_id]}; "
            "run the sweep with --retry-failed"
        )
    description, numbers = (opened.read_artifact(cell_id, name) for name in (DESCRIPTION, ARRAYS))
    if description is None or numbers is None:
        lost = [name for name, content in ((DESCRIPTION, description), (ARRAYS, numbers)) if content is None]
        raise ModelError(
            f"{opened.location}: the cell {cell_id} has kept no model ({' and '.join(lost)} missing). "
            "Write keep: [model] into the sweep file and run the sweep again: it computes such cells anew"
        )
    where = f"{opened.place('artifacts')}/{cell_id}"
    try:
        return _built(read_model(description, numbers))
    except (ValueError, KeyError, TypeError) as error:
        text = f"{error.args[0]} missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"{where}: {text}") from error


def _built(kept: KeptModel) -> Model:
    try:
        experiment = find_experiment(kept.experiment)
    except ProviderError as error:
        raise ModelError(f"{DESCRIPTION}: found experiment = {kept.experiment!r:.80}; {error}") from error
    if not experiment.model:
        raise ModelError(f"{kept.experiment} does not say how its models are built")
    model = named(experiment.model)(kept)
    assert isinstance(model, Model)
    return model
