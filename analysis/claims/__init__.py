"""The paper's claims, each as a test of stored cells, and what the tests say.

How a claim is decided:

- The statistic is a number for each seed, its effect the mean over seeds. Points of equal seed, factors and dimension
  (or equal images) saw the same data, so comparisons are taken seed by seed and never between means.
- Its interval is a bootstrap over seeds: BCa, or percentiles where BCa is not defined, as for a sample of equal values.
  The bootstrap of few values is too narrow, so its level is raised to what makes it as wide as Student's t-interval
  where the values are normal (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.3).
- `reproduced`: in every cell the whole 95% interval lies where the claim says. That is an intersection-union test:
  each cell is tested at the full level, no correction is needed, and it is wrong at most as often as a single cell is.
- `not reproduced`: in some cell the whole interval lies on the other side, and Student's t-test says so too at 2.5%
  (one side) after Holm's correction over all cells of the claim. The correction is the t-test's, for a bootstrap of few
  repetitions has no tails that a correction could reach for.
- `inconclusive`: neither. `not run`: no cell could be tested.

A cell of a claim is tested where all repetitions of all points that it compares are there. Others are left out, and the
coverage of the claim names them, and the settings that the claim speaks of and that were never run.
"""
