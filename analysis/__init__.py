"""What the stores say: figures and tables, each made only from cells that are all there."""

from .data.summary import summarise

__all__ = ["summarise"]
