"""Table of what was tried on the mammograms, from the records of `medtk.lab.mammograms`."""

from collections import defaultdict

import numpy as np
import pandas as pd

from medtk.evaluation import intervals
from medtk.lab.mammograms import EXPERIMENT, LEARNERS, VIEWS, balanced
from medtk.lab.pgsl_spec import PAPER
from medtk.reproduction import records
from medtk.settings import results_home

CHANCE = "permuted/balanced_accuracy"
WHO = {"cv": "training women, in turn", "test": "test women"}


def tried() -> pd.DataFrame:
    """One line a setting that was recorded, the mean over its seeds; no lines from an empty ledger.

    The 95 % interval draws whole women (`medtk.evaluation.intervals.bootstrap`). *labels dealt anew* is what the same
    regression reaches where there is nothing to learn: the mean, and the highest of all times.
    """
    lines = []
    for (view, learner, part), runs in _settings().items():
        shown, names = VIEWS[view]
        found, low, high, women = _measured(runs)
        chance = [p for run in runs for p in records.load_predictions(run, results_home()).get(CHANCE, ())]
        lines.append(
            {
                "shown": shown,
                "told apart": " / ".join(names),
                "learner": LEARNERS[learner],
                "asked": WHO[part],
                "images": runs[0]["metrics"]["held out"]["n"],
                "women": women,
                "seeds": len(runs),
                "balanced accuracy": f"{found:.1%} [{low:.1%}, {high:.1%}]",
                "one answer for all": f"{1 / len(names):.1%}",
                "labels dealt anew": f"{np.mean(chance):.1%}, at most {max(chance):.1%}" if chance else "–",
            }
        )
    return pd.DataFrame(lines)


def what_learns() -> str:
    """In words: how many settings beat one answer for all, by their whole interval, and what they are shown."""
    found = {key: (*_measured(runs)[:3], len(VIEWS[key[0]][1])) for key, runs in _settings().items() if key[2] == "cv"}
    if not found:
        return "No trial on the mammograms is recorded."
    ahead = [key for key, (_, low, _, classes) in found.items() if low > 1 / classes]
    said = f"{len(ahead)} of {len(found)} recorded settings know other women's images better than one answer for all."
    for view in dict.fromkeys(key[0] for key in ahead):
        best = max((key for key in ahead if key[0] == view), key=lambda key: found[key][0])
        share, low, high, classes = found[best]
        said += (
            f" Shown the {VIEWS[view][0]}: {LEARNERS[best[1]]} is best with {share:.1%} balanced "
            f"[{low:.1%}, {high:.1%}], where one answer for all has {1 / classes:.1%}."
        )
    films = [found[key][0] - 1 / found[key][3] for key in found if key[0] in ("film", "abnormal", "difference")]
    if films:
        best = 100 * max(films)
        said += f" Of {len(films)} settings with whole films the best is {best:+.1f} points from that of one answer."
    return said


def _settings() -> dict[tuple[str, str, str], list[dict]]:
    """Records by view, learner and part, in the order of `VIEWS` and `LEARNERS`."""
    found = defaultdict(list)
    for record in records.read_all(results_home()):
        if (record["paper"], record["experiment"]) == (PAPER, EXPERIMENT):
            p = record["parameters"]
            found[p["view"], p["learner"], p["part"]].append(record)
    order = [(view, learner, part) for view in VIEWS for learner in LEARNERS for part in WHO]
    return {key: found[key] for key in order if key in found}


def _measured(runs: list[dict]) -> tuple[float, float, float, int]:
    """Balanced accuracy, mean over seeds, its interval over women, and their number."""
    stored = [records.load_predictions(run, results_home()) for run in runs]
    labels, women = stored[0]["labels"], stored[0]["woman/number"]
    answers = np.stack([one["held out"] for one in stored], axis=1)

    def measure(labels, answers):
        return float(np.mean([balanced(labels, answers[:, seed]) for seed in range(answers.shape[1])]))

    low, high = intervals.bootstrap(labels, answers, measure, groups=women)
    return measure(labels, answers), low, high, len(np.unique(women))
