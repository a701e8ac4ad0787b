"""Puts the book together in ``build/site`` and builds it: prose, executed notebooks, generated pages."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from medtk import settings
from medtk.errors import MedtkError
from medtk.runner import execute, fingerprint, notebooks, pages

# Pages that Sphinx adds to those of the table of contents.
EXTRA_PAGES = {"index", "genindex", "search", "py-modindex", "prf-prf"}
# What a browser fetches by itself when it opens a page. A link for people (<a href>) may go anywhere.
REMOTE = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?=[^>]*\brel=["'][^"']*(?:stylesheet|preload|prefetch|icon|preconnect))[^>]*"""
    r"""\bhref=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|@import\s+(?:url\()?["']?(?:https?:)?//[^"'\s)]+"""
    r"""|url\(["']?(?:https?:)?//[^"'\s)]+"""
    r"""|\b(?:from|import)\s*\(?\s*["']https?://[^"'\s]+""",
    re.IGNORECASE,
)


def site_home() -> Path:
    """Folder in which the book is put together."""
    return settings.project_root() / "build" / "site"


def toc_files(toc: dict) -> list[str]:
    """Every page of a table of contents, without suffix, in reading order."""
    found = [toc["root"]] if "root" in toc else []
    for key, value in toc.items():
        if key == "file":
            found.append(value)
        elif isinstance(value, list):
            found += [page for entry in value for page in toc_files(entry)]
    return [re.sub(r"\.(md|ipynb|rst)$", "", page) for page in found]


def stage(profile: str = "quick") -> Path:
    """Copy prose, executed notebooks and generated pages into one folder; equal files are not touched.

    Parameters
    ----------
    profile : str
        Whose executed notebooks are published.

    Returns
    -------
    Path
        The folder, ready for `build`.

    Raises
    ------
    MedtkError
        When a notebook of the table of contents has not been run, or not since something changed.
    """
    root, site = settings.project_root(), site_home()
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    config.setdefault("execute", {})["execute_notebooks"] = "off"
    wanted = {
        Path("_config.yml"): yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode(),
        Path("_toc.yml"): (root / "_toc.yml").read_bytes(),
    }
    for path in sorted((root / "book").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            wanted[path.relative_to(root)] = path.read_bytes()
    for page in toc_files(yaml.safe_load(wanted[Path("_toc.yml")])):
        if page.startswith("notebooks/"):
            wanted[Path(f"{page}.ipynb")] = _executed(root / f"{page}.ipynb", profile)
    wanted |= {Path(name): text.encode() for name, text in pages.generated().items()}
    _write(site, wanted)
    return site


def _executed(source: Path, profile: str) -> bytes:
    target = execute.output_home(profile) / source.name
    [(_, parameters)] = execute.plan([notebooks.find(str(source))], profile)
    if execute.last_run(target).get("key") != fingerprint.key(source, profile, parameters):
        remedy = f"run `medtk run --profile {profile} --resume`"
        raise MedtkError(f"{source.stem} has not been run with profile {profile} since it changed: {remedy}.")
    content = pages.hide_injected(notebooks.read(target))
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


def _write(site: Path, wanted: dict[Path, bytes]) -> None:
    """Make `site` hold `wanted` and nothing else. Equal files keep their date, by which Sphinx goes."""
    for path in [path for path in site.rglob("*") if path.is_file()]:
        inside = path.relative_to(site)
        if inside.parts[0] != "_build" and inside not in wanted:
            path.unlink()
    for inside, content in wanted.items():
        path = site / inside
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def build(strict: bool = True) -> Path:
    """Build the staged book as HTML and check that it is whole and needs no network.

    Parameters
    ----------
    strict : bool
        Treat each warning (a broken reference, a missing picture) as an error.

    Returns
    -------
    Path
        The page to open.

    Raises
    ------
    MedtkError
        When Jupyter Book is missing or of version 2, the build warns, pages are missing, or a page would
        fetch something from the network.
    """
    site = site_home()
    _check_version()
    _forget_if_outdated(site)
    log = site.parent / "book.log"
    call = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    options = ["-W", "-n", "--keep-going"] if strict else []
    with log.open("wb") as file:
        command = [sys.executable, "-c", call, "build", str(site), *options]
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    html = site / "_build" / "html"
    problems = _warnings(log) if code else check_pages(html, _toc(site)) + check_offline(html)
    if code or problems:
        # Sphinx does not repeat the warnings of an unchanged page: the next build starts from nothing.
        shutil.rmtree(site / "_build", ignore_errors=True)
        problems = problems or [f"Jupyter Book ended with code {code}"]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise MedtkError(f"The book did not build: {problems[0]}{more}; everything it said is in {log}.")
    (site / "_build" / "stamp").write_text(_stamp(site))
    start = html / "index.html"
    return start if start.is_file() else html / f"{_toc(site)[0]}.html"


def _toc(site: Path) -> list[str]:
    return toc_files(yaml.safe_load((site / "_toc.yml").read_text(encoding="utf-8")))


def _check_version() -> None:
    try:
        import jupyter_book
    except ImportError:
        raise MedtkError(
            "Jupyter Book is not installed: `make book` installs it, or `pip install medtk[book]`."
        ) from None
    if not jupyter_book.__version__.startswith("1."):
        remedy = "install the locked version with `make book`"
        raise MedtkError(f"Jupyter Book {jupyter_book.__version__} cannot read this book: {remedy}.")


def _stamp(site: Path) -> str:
    content = (site / "_toc.yml").read_bytes() + (site / "_config.yml").read_bytes()
    return hashlib.sha256(content + fingerprint.package().encode()).hexdigest()


def _forget_if_outdated(site: Path) -> None:
    """Start from nothing when navigation or package changed: Sphinx would keep the other pages' old menus."""
    stamp = site / "_build" / "stamp"
    if not stamp.is_file() or stamp.read_text() != _stamp(site):
        shutil.rmtree(site / "_build", ignore_errors=True)


def _warnings(log: Path) -> list[str]:
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8", errors="replace"))
    found = [line.strip() for line in text.splitlines() if re.search(r"\b(WARNING|ERROR|CRITICAL):", line)]
    return found or [line.strip() for line in text.splitlines() if "rror" in line][-1:]


def check_pages(html: Path, toc: list[str]) -> list[str]:
    """Problems of the built pages beside the table of contents: one missing, one too many."""
    there = {path.relative_to(html).with_suffix("").as_posix() for path in html.rglob("*.html")}
    there = {page for page in there if not page.startswith(("_static/", "_modules/", "_sources/"))}
    missing = [f"page {page} is in the table of contents and was not built" for page in toc if page not in there]
    return missing + [f"page {page} is in no table of contents" for page in sorted(there - set(toc) - EXTRA_PAGES)]


def check_offline(html: Path) -> list[str]:
    """Places where a page or a style sheet would fetch something from the network by itself."""
    found = []
    for path in sorted([*html.rglob("*.html"), *html.rglob("*.css")]):
        for match in REMOTE.finditer(path.read_text(encoding="utf-8", errors="replace")):
            found.append(f"{path.relative_to(html)} needs the network: {match[0][-120:]}")
    return found
