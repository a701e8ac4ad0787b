"""One notebook in one process: ``python -m medtk.runner.worker``, started by `medtk.runner.execute`.

The parent gives the job as one JSON line on standard input and keeps that pipe open. Standard output carries
one JSON line a cell and one at the end. When the pipe closes, the parent is gone (Ctrl-C, a kill): the worker
then ends its kernel and itself, so that nothing goes on computing unseen.
"""

import errno
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def main() -> int:
    """Run the job on standard input; 0 when the notebook ran to its end."""
    # The kernel inherits standard output; what it prints there belongs in the log, not between our lines.
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**fields):
        print(json.dumps(fields), file=reports, flush=True)

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    began = time.perf_counter()
    error = _execute(job, say)
    say(error=error, seconds=time.perf_counter() - began, peak_memory_mb=_children_peak_mb())
    return 1 if error else 0


def _execute(job: dict, say: Callable) -> str | None:
    """Run the notebook with papermill; the first failure in one line, or None."""
    # An optional check of web addresses, for which jsonschema builds a grammar: 1.3 seconds a notebook.
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill
    from papermill.engines import NBClientEngine, papermill_engines

    class ReportingEngine(NBClientEngine):
        """papermill's own engine, which says at which cell it is."""

        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **options):
            start = nb_man.cell_start

            def cell_start(cell, cell_index=None, **more):
                say(cell=(cell_index or 0) + 1, cells=len(nb_man.nb.cells))
                return start(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            return super().execute_managed_notebook(nb_man, kernel_name, **options)

    papermill_engines.register("medtk", ReportingEngine)
    try:
        papermill.execute_notebook(
            job["notebook"],
            job["output"],
            parameters=job["parameters"],
            engine_name="medtk",
            kernel_name="python3",
            cwd=str(Path(job["notebook"]).parent),
            progress_bar=False,
        )
    except papermill.PapermillExecutionError as failure:
        lines = str(failure.evalue).strip().splitlines()
        return f"In [{failure.exec_count}]: {failure.ename}: {lines[0] if lines else 'no message'}"
    except OSError as failure:
        if failure.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk is full, {job['output']} could not be written"
        return f"{type(failure).__name__}: {failure}"
    except Exception as failure:
        # A kernel that died or did not answer, say: the parent wants one sentence, whatever it is.
        return f"{type(failure).__name__}: {' '.join(str(failure).split())}"
    return None


def _end_with_parent() -> None:
    while os.read(0, 1024):  # not sys.stdin: its lock, held by this thread, would abort the interpreter's normal end
        pass
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


def _children_peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())
