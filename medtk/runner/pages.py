"""Pages of the book that are made from data: the scoreboard, each paper's tables, the data cards, the machines."""

from medtk import settings
from medtk.runner import notebooks


def generated() -> dict[str, str]:
    """Path inside the book's source -> Markdown text of every page that no person writes."""
    from medtk.reproduction import compare
    from medtk.reproduction import pages as reproduction_pages

    report = compare.report(settings.results_home())
    made = {
        "book/scoreboard.md": reproduction_pages.scoreboard_page(report),
        "book/data_cards.md": data_cards(),
        "book/machines.md": machines(),
    }
    folder = settings.project_root() / "book" / "papers"
    for paper in report["papers"]:
        if (folder / paper).is_dir():
            made[f"book/papers/{paper}/tables.md"] = reproduction_pages.paper_page(report, paper)
    return made


def data_cards() -> str:
    """Markdown page with the card of each data set, and which images the book at hand was made from."""
    from medtk import data

    parts = [
        "(data-cards)=\n# Data cards\n",
        "What each data set is, what may be done with it, and what to beware of. *Here* says where the "
        "images came from when this book was built; results on synthetic stand-ins never count.\n",
    ]
    for name in data.names():
        parts.append(_card(data.CATALOG[name], data.find(name)))
    return "\n".join(parts)


MACHINES = """(machines)=
# Small networks on several machines

Time belongs to a machine. So this page has room for yours. In your copy of the project,

```bash
medtk edge bench
```

measures a reference network of {kilobytes} kB, the same to the last bit on every machine, and adds one line to
`benchmarks/edge_machines.csv`. Lines that stand there already are not touched, neither ours nor anybody's. Build the
book again, and your line stands below, beside the others. With a pull request that adds the line, everybody sees it.

`medtk edge bench FILE` does the same for a bundle or an exported network of your own. Only lines of the same bytes,
limits and threads are set side by side. A line names processor, cores and system, and no person.

A limit of cores or memory stands for a small device. It is none, see {{ref}}`nb-on-device`. Times of a machine that did
other work at the time are longer: look at the time within which 95 of 100 answers came.
"""
COLUMNS = {
    "machine": "machine",
    "cores": "cores",
    "system": "system",
    "median_ms": "middle, ms",
    "p95_ms": "95 of 100 within, ms",
    "cold_ms": "first answer, ms",
    "peak_mb": "memory, MB",
    "when": "when",
}


def machines(table=None) -> str:
    """Markdown page with the lines of all machines, those that may be compared in one table.

    Parameters
    ----------
    table : path, optional
        `medtk.edge.device.table_of_machines` unless told.
    """
    from medtk.edge import device, reference, search

    table = table or device.table_of_machines()
    cost = search.price(reference.ARCHITECTURE, 2)
    parts = [MACHINES.format(kilobytes=round(cost.bytes / 1000))]
    groups = device.together(device.read(table))
    if not groups:
        parts.append("No machine has added a line yet; yours can be the first.\n")
    for (network, sha256, stand_in, threads), lines in groups.items():
        said = device.STAND_INS[stand_in].said if stand_in in device.STAND_INS else stand_in
        parts += [f"## {_escape(network)}, {said}, threads: {threads}", ""]
        parts += [f"{lines[0]['kilobytes']} kB, SHA-256 `{sha256}`…", ""]
        parts += [f"| {' | '.join(COLUMNS.values())} |", "| --- " * len(COLUMNS) + "|"]
        parts += [f"| {' | '.join(_escape(line[column]) for column in COLUMNS)} |" for line in lines]
        parts.append("")
    return "\n".join(parts)


def _card(card, status) -> str:
    counts = ", ".join(f"{count:,} {split}" for split, count in card.counts.items())
    here = status.source if status.source != "missing" else "missing, a synthetic stand-in takes its place"
    rows = {
        "Name in code": f"`{card.name}`",
        "Modality": card.modality,
        "Task": card.task,
        "Classes": ", ".join(card.class_names),
        "Images": counts,
        "Licence": card.licence,
        "Source": f"<{card.url}>" + (f", {{cite}}`{card.citation}`" if card.citation else ""),
        "Here": here + (f": {status.note}" if status.note and status.source != "missing" else ""),
    }
    lines = [f"(data-{card.name.replace('_', '-')})=", f"## {card.title}", "", "| | |", "| --- | --- |"]
    lines += [f"| {label} | {_escape(text)} |" for label, text in rows.items()]
    if card.cautions:
        lines += ["", ":::{warning}", *(f"- {caution}" for caution in card.cautions), ":::"]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def hide_injected(content: dict) -> dict:
    """The executed notebook with papermill's own parameters cell tagged so that the book leaves it out."""
    for cell in content["cells"]:
        if "injected-parameters" in notebooks.tags(cell) and "remove-cell" not in notebooks.tags(cell):
            cell["metadata"]["tags"].append("remove-cell")
    return content
