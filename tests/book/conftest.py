"""The built book that the tests look at, and the browser that opens it."""

import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import yaml

from medtk.runner import pages, stage

ROOT = Path(__file__).resolve().parents[2]
Site = namedtuple("Site", "html toc problems")


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def toc():
    return stage.toc_files(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def site(toc, tmp_path_factory):
    """The book that `medtk book` built, if the prose did not change since then; else one built here.

    The one built here has the notebooks as they are stored, without outputs: running them has its own tests.
    """
    built = ROOT / "build" / "site" / "_build" / "html"
    if _is_fresh(built):
        return Site(built, toc, [])
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "book", folder / "book")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, folder)
    generated = {folder / name: text for name, text in pages.generated().items()}
    for path, text in generated.items():
        path.write_text(text, encoding="utf-8")
    (folder / "notebooks").mkdir()
    for page in toc:
        if page.startswith("notebooks/"):
            shutil.copy(ROOT / f"{page}.ipynb", folder / f"{page}.ipynb")
    call = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", call, "build", str(folder), "-n", "--keep-going"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    log = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert done.returncode == 0, log[-3000:]
    ours = re.compile(r"\.(md|py)\b.*\b(WARNING|ERROR):|WARNING: autodoc")
    problems = [line for line in log.splitlines() if ours.search(line)]
    return Site(folder / "_build" / "html", toc, problems)


def _is_fresh(built: Path) -> bool:
    if not (built / "index.html").is_file():
        return False
    sources = [ROOT / "_config.yml", ROOT / "_toc.yml", *(ROOT / "book").rglob("*.*")]
    return max(path.stat().st_mtime for path in sources) < (built / "searchindex.js").stat().st_mtime


def _program(*names: str) -> str | None:
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def open_browser():
    """Function from a width in pixels to a headless Chromium that reaches no network."""
    chrome = _program("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    driver = _program("chromedriver")
    if not (chrome and driver):
        reason = "opening the book needs Chromium or Chrome, and chromedriver; no Python package has them"
        assert not os.environ.get("MEDTK_REQUIRE_BROWSER"), reason
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    opened = []

    def start(width: int):
        options = webdriver.ChromeOptions()
        options.binary_location = chrome
        for argument in (
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={max(width, 500)},900",
        ):  # fmt: skip
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = webdriver.Chrome(options=options, service=Service(driver))
        opened.append(browser)
        # A window cannot be narrower than about 500 pixels, a device can.
        device = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
        browser.set_script_timeout(30)
        return browser

    yield start
    for browser in opened:
        browser.quit()
