"""Live progress of notebooks: bars in a terminal, one line a change elsewhere (a log of CI)."""

import rich.progress
from rich.console import Console


class Progress:
    """Shows which notebook is at which cell; used as a context manager.

    Parameters
    ----------
    console : rich.console.Console
        Where to.
    total : int
        Notebooks in all.
    """

    def __init__(self, console: Console, total: int):
        self.console = console
        self.bars = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            rich.progress.TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.all = self.bars.add_task("notebooks", total=total)
        self.tasks: dict[str, rich.progress.TaskID] = {}

    def __enter__(self):
        self.bars.start()
        return self

    def __exit__(self, *error):
        self.bars.stop()

    def begin(self, notebook: str) -> None:
        """A notebook starts."""
        self.tasks[notebook] = self.bars.add_task(notebook, total=1)
        if not self.console.is_terminal:
            self.console.print(f"{notebook}: running")

    def cell(self, notebook: str, cell: int, cells: int) -> None:
        """A cell starts, counted from 1."""
        self.bars.update(self.tasks[notebook], completed=cell - 1, total=cells)

    def end(self, outcome) -> None:
        """A notebook is done, see `execute.Outcome`."""
        if outcome.notebook in self.tasks:
            self.bars.remove_task(self.tasks.pop(outcome.notebook))
        self.bars.advance(self.all)
        line = f"{outcome.notebook}: {outcome.state}"
        if outcome.state == "ran":
            line += f" in {outcome.seconds:.0f} s"
        elif outcome.state == "failed":
            line += f", {outcome.error} (see {outcome.log} and {outcome.output})"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
