"""The built book: whole, offline, readable at two widths, searchable from disk."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from medtk.runner import stage

WIDTHS = (1280, 390)
RESULTS = "#search-results li a"
FETCHED = {"stylesheet", "preload", "prefetch", "icon", "preconnect"}
NETWORKS = re.compile(r"cdnjs|jsdelivr|unpkg|googleapis|gstatic|mybinder\.org/badge|colab-badge")


class _Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.fetched, self.no_alt, self.h1, self.lang = [], set(), [], [], 0, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "article":
            self.h1 = 0  # one stands before it, for print only
        if tag == "html":
            self.lang = found.get("lang")
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "link" and FETCHED & set((found.get("rel") or "").split()):
            self.fetched.append(found.get("href") or "")
        if tag != "a" and found.get("src"):
            self.fetched.append(found["src"])
        if tag == "img" and not found.get("alt"):
            self.no_alt.append(found.get("src", "")[:80])
        self.h1 += tag == "h1"


@pytest.fixture(scope="module")
def read(site):
    pages = [path for path in sorted(site.html.rglob("*.html")) if "_static" not in path.parts]
    return {path: _Page(path.read_text(encoding="utf-8")) for path in pages}


def _toc_pages(site):
    return [site.html / f"{page}.html" for page in site.toc]


def test_prose_builds_without_warnings(site):
    assert site.problems == []


def test_every_page_of_the_contents_was_built_and_no_other(site):
    assert stage.check_pages(site.html, site.toc) == []
    assert len(_toc_pages(site)) >= 15
    assert all(path.stat().st_size > 2000 for path in _toc_pages(site))


def test_no_page_needs_the_network(site, read):
    assert stage.check_offline(site.html) == []
    outside = {(p.name, a) for p, page in read.items() for a in page.fetched if urlsplit(a).netloc}
    assert outside == set()
    named = {p.name for p in read if NETWORKS.search(p.read_text(encoding="utf-8"))}
    assert named == set()


def test_links_inside_the_book_lead_somewhere(site, read):
    broken = []
    for path, page in read.items():
        if path.name in ("genindex.html", "py-modindex.html"):
            continue
        for link in [*page.links, *page.fetched]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("#!"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = read[target].ids if target in read else {unquote(parts.fragment)}
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in known):
                broken.append((path.name, link))
    assert broken == []


def test_pages_are_marked_up_for_everybody(site, read):
    for path in _toc_pages(site):
        page = read[path]
        assert page.lang == "en", path.name
        assert page.h1 == 1, path.name
        assert page.no_alt == [], path.name


@pytest.fixture(scope="module", params=WIDTHS)
def browser(open_browser, request):
    browser = open_browser(request.param)
    browser.width = request.param
    return browser


def _open(browser, path, query=""):
    browser.get(path.as_uri() + query)
    # MathJax says when it has drawn everything; a page without formulas does not load it.
    browser.execute_async_script(
        """
        const done = arguments[0];
        const wait = () => {
            const drawn = window.MathJax && MathJax.startup && MathJax.startup.promise;
            drawn ? drawn.then(() => done()) : setTimeout(wait, 20);
        };
        document.querySelector('.math') ? wait() : done();
        """
    )


def _severe(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_pages_open_from_disk_without_errors_and_fit_the_width(site, browser):
    wrong, formulas = [], 0
    for path in _toc_pages(site):
        _open(browser, path)
        wide, written, drawn, failed = browser.execute_script(
            """
            const count = what => document.querySelectorAll(what).length;
            const width = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth);
            return [width - window.innerWidth, count('.math'), count('mjx-container[jax=SVG] svg'),
                    count('mjx-merror, [data-mjx-error]')];
            """
        )
        formulas += drawn
        problems = _severe(browser)
        if wide > 0:
            problems.append(f"{wide} pixels too wide")
        if drawn < written or failed:
            problems.append(f"{drawn} of {written} formulas drawn, {failed} with errors")
        wrong += [(path.name, problem) for problem in problems]
    assert wrong == []
    assert formulas > 10


def test_search_works_from_disk(site, browser):
    from selenium.webdriver.support.ui import WebDriverWait

    _open(browser, site.html / "search.html", "?q=gradient")
    results = WebDriverWait(browser, 20).until(
        lambda b: b.execute_script("return [...document.querySelectorAll('#search-results li a')].map(String)")
    )
    assert any("glossary" in address for address in results)
    assert all(address.startswith("file:") for address in results)
    assert _severe(browser) == []
