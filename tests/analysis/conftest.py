from __future__ import annotations

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.draw import style


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn and not rendered: their `.svg` holds their words alone, and they have no other picture."""
    monkeypatch.setattr(style, "rendered", lambda figure: {".svg": _words(figure)})
    monkeypatch.setattr(style, "page_svg", lambda figure, **how: b"")


def _words(figure: Figure) -> bytes:
    texts = figure.findobj(Text)
    return "\n".join(text.get_text() for text in texts if isinstance(text, Text) and text.get_visible()).encode()
