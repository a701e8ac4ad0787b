"""The saved times as tables in benchmarks/README.md, which ``python benchmarks/table.py`` fills."""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
START, END = "<!-- made by table.py -->", "<!-- end -->"
ROUNDS = "<!-- rounds, made by table.py -->"


def lines(found: list[dict]) -> list[str]:
    """A line an attack and peer, from ``times`` of a saved benchmark.

    Work counts as unequal where the share of images turned differs from medtk's by more than one image in twenty: a
    tool that gives up early or never arrives is not timed at the same task.
    """
    mine = {row["attack"]: row for row in found if row["tool"] == "medtk"}
    made = [
        "| attack | peer | time of peer / time of medtk | peer turns | medtk turns | same work |",
        "| --- " * 6 + "|",
    ]
    for row in found:
        if row["tool"] != "medtk":
            own = mine[row["attack"]]["success"]
            same = "yes" if abs(row["success"] - own) <= 0.05 else "**no**"
            cells = (row["attack"], row["tool"], f"{row['ratio_to_medtk']:.1f}", f"{row['success']:.0%}", f"{own:.0%}")
            made.append(f"| {' | '.join(cells)} | {same} |")
    return made


def rounds(found: list[dict], simulation: dict) -> list[str]:
    """What the engine adds to bare client steps, and a round of it beside one of Flower's simulation.

    Parameters
    ----------
    found : list of dict
        Saved benchmarks of the engine, one a network: ``settings`` and ``times``.
    simulation : dict
        A saved benchmark of Flower's simulation.
    """
    made = [
        "| network | images a round | turns | | overhead by the clock | by the processor | outside steps |",
        "| --- " * 7 + "|",
    ]
    for saved in found:
        setting = f"{saved['settings']['network']} | {saved['settings']['images']} | {saved['settings']['repeats']}"
        for name in ("engine", "engine, kept"):
            row = saved["times"][name]
            shares = (row[key] for key in ("clock_overhead", "processor_overhead", "outside_steps"))
            made.append(f"| {setting} | {name} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    times, network = simulation["times"], simulation["settings"]["network"]
    ours, theirs = times["engine_round_s"], times["simulation_round_s"]
    made += ["", f"A round of `{network}` takes {ours:.2f} s in the engine and {theirs:.2f} s in Flower's simulation."]
    return made


def filled(page: str, network: str = "cnn") -> str:
    """The page with the table of a saved benchmark between its two marks."""
    attacks, small, large, simulation = (
        json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))
        for name in (f"attacks-{network}", "federated-small", "federated-efficientnetv2s", "simulation-small")
    )
    for start, made in ((START, lines(attacks["times"])), (ROUNDS, rounds([small, large], simulation))):
        table = "\n".join([start, *made, END])
        page = re.sub(f"{start}.*?{END}", lambda _, table=table: table, page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    path = HERE / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
