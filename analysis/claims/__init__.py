"""The paper's claims and our findings, each as a test of stated cells, and what the tests say.

`docs/protocol.md` says what is tested and how it is decided; `protocol.py` makes that page from the declarations here.
A claim is declared in `static_prior.py` or `learned_prior.py`, a finding in `findings.py`. `samples.py` looks up the
protocol's cells in the rows by their ids, `decide.py` tests them, `readings.py` and `sentences.py` put that into words,
and `product.py` writes the files.
"""
