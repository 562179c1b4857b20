from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field

from dvq_ray.declarations.attribute_docstrings import attribute_docstrings
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.registry import find_experiment


class Declared(Settings):
    """Settings with a text below some fields."""

    first: int = 1
    """A sentence.

    And
      another one."""
    without: int = 2
    described: Annotated[int, Field(description="replaced")] = 3
    """By the text."""

    class Inner(Settings):
        first: int = 1
        """Of the inner class."""


def test_the_text_below_a_field_is_its_description() -> None:
    descriptions = {name: info.description for name, info in Declared.model_fields.items() if name != "quantizer"}
    assert descriptions == {
        "first": "A sentence.\n\nAnd\n  another one.",
        "without": None,
        "described": "By the text.",
    }
    assert Declared.Inner.model_fields["first"].description == "Of the inner class."


def test_classes_in_functions_are_told_apart_from_others_of_their_name() -> None:
    class Declared(Settings):
        first: int = 1
        """Inside."""

    assert Declared.model_fields["first"].description == "Inside."


def test_a_class_whose_source_is_not_at_hand_has_none() -> None:
    made = type("Made", (Settings,), {"__module__": "nowhere", "__annotations__": {"first": "int"}, "first": 1})
    assert attribute_docstrings(made) == {}


@pytest.mark.parametrize("quantizer", ["vq", "kmeans"])
def test_settings_composed_for_an_experiment_keep_the_descriptions_of_their_parts(quantizer: str) -> None:
    fields = find_experiment("static_prior").variant(quantizer).model_fields
    assert str(fields["factors"].description).startswith("Gaussian blobs behind the data")
    assert fields["codebook_size"].description
