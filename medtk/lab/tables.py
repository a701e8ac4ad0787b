"""Tables that set the paper, the ledger and the present run side by side."""

import pandas as pd

from medtk.reproduction import compare, papers, records
from medtk.reproduction.quantities import METRICS, shown
from medtk.settings import results_home

VERDICTS = {
    "reproduced": "reproduced",
    "direction": "direction holds",
    "differs": "differs",
    "not_testable": "not testable here",
    "unrecorded": "no record yet",
}


def ledger(paper: str) -> tuple[list[dict], list[dict]]:
    """Judged cells and claims of a paper, from the records of this project."""
    home = results_home()
    report = compare.report(records.read_all(home), home)
    mine = [[entry for entry in report[part] if entry["paper"] == paper] for part in ("cells", "claims")]
    return mine[0], mine[1]


def beside_paper(paper: str, table: str, *, rows: str = "", this_run: dict | None = None) -> pd.DataFrame:
    """One table of the paper: printed, recorded with its interval, this run, verdict.

    Parameters
    ----------
    paper, table : str
        Such as ``"robust_transfer"`` and ``"I"``.
    rows : str
        Keep the rows whose name starts with this.
    this_run : dict, optional
        A record; the cells that it answers are filled in.
    """
    mine = {}
    for cell in (this_run or {}).get("cells", []):
        value = this_run["metrics"][cell["predictions"]][cell.get("metric", "accuracy")]
        mine[cell["table"], cell["row"], cell["column"]] = value
    lines = []
    for cell in ledger(paper)[0]:
        if cell["table"] != table or not cell["row"].startswith(rows):
            continue
        now = mine.get((table, cell["row"], cell["column"]))
        recorded = "" if cell["ours"] is None else _brief(cell["ours"], cell["metric"])
        if cell["low"] is not None:
            recorded += f" [{_brief(cell['low'], cell['metric'])}, {_brief(cell['high'], cell['metric'])}]"
        lines.append(
            {
                "row": cell["row"],
                "column": cell["column"],
                "paper": "" if cell["printed"] is None else _brief(cell["printed"], cell["metric"], 2),
                "recorded": recorded,
                "this run": "" if now is None else _brief(now, cell["metric"]),
                "verdict": VERDICTS[cell["verdict"]],
            }
        )
    return pd.DataFrame(lines)


def _brief(value: float, metric: str, decimals: int = 1) -> str:
    """A share with few decimals, anything else as the book's tables write it."""
    return f"{value:.{decimals}%}" if METRICS[metric].kind == "share" else shown(value, metric)


def claims(paper: str, ids: list[str]) -> pd.DataFrame:
    """Verdicts of the ledger on the claims of a paper with these ids."""
    wanted = {claim.text for claim in papers.load(paper).claims if claim.id in ids}
    found = [claim for claim in ledger(paper)[1] if claim["claim"] in wanted]
    return pd.DataFrame(
        [{"claim": c["claim"], "verdict": VERDICTS[c["verdict"]], "why": c["reason"]} for c in found]
    )


def choices(paper: str, experiment: str, dataset: str) -> pd.DataFrame:
    """The ambiguity register in numbers: recorded accuracy on clean images by network and choice, over seeds.

    ``re-estimated`` is the same network after its normalisation statistics were measured again on the training
    images; see `medtk.lab.transfer.statistics_refreshed`.
    """
    columns = ["network", "trained", "pixels", "weights", "seed", "while training", "test", "balanced", "re-estimated"]
    lines = []
    for record in records.read_all(results_home()):
        p, metrics = record["parameters"], record["metrics"]
        if (record["paper"], record["experiment"], p.get("dataset")) == (paper, experiment, dataset):
            settings = [p["network"], p["trainable"], p["scaling"], record["weights"]["source"], record["seed"]]
            clean = metrics["clean"]
            scores = [record["while_training"]["accuracy"], clean["accuracy"], clean["balanced_accuracy"]]
            lines.append([*settings, *scores, metrics.get("reestimated", {}).get("accuracy", float("nan"))])
    return pd.DataFrame(lines, columns=columns).sort_values(columns[:5])
