"""The living figure in a browser: moved by hand or by key, it shows one picture and says which, with no network."""

import matplotlib.pyplot as plt
import pytest

from medtk import lab

LABELS = ["ε = 0: pneumonia 98 %", "ε = 0.003: pneumonia 60 %", "ε = 0.02: normal 91 %"]


@pytest.fixture(scope="module")
def page(open_browser, tmp_path_factory):
    made = []
    for name in ("size of the step", "another"):
        figures = [plt.figure(figsize=(3, 1)) for _ in LABELS]
        made.append(lab.slider(figures, LABELS, name=name, alt=name).data)
    path = tmp_path_factory.mktemp("slider") / "page.html"
    path.write_text(f"<!doctype html><meta charset='utf-8'>{''.join(made)}", encoding="utf-8")
    browser = open_browser(600)
    browser.get(path.as_uri())
    return browser


def _seen(page, which):
    """Number of each picture on view, what is said beside the slider, and what a screen reader is told."""
    return page.execute_script(
        """
        const box = document.querySelectorAll('div[id^=slider-]')[arguments[0]];
        const shown = [...box.querySelectorAll('img')].map((one, i) => one.offsetHeight > 0 ? i : -1);
        const bar = box.querySelector('input');
        return [shown.filter(i => i >= 0), box.querySelector('output').textContent, bar.getAttribute('aria-valuetext')];
        """,
        which,
    )


def test_keys_move_one_slider_and_leave_the_other(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    assert _seen(page, 0) == [[0], LABELS[0], LABELS[0]]
    bar = page.find_element(By.CSS_SELECTOR, "input[type=range]")
    bar.send_keys(Keys.ARROW_RIGHT)
    assert _seen(page, 0) == [[1], LABELS[1], LABELS[1]]
    bar.send_keys(Keys.END)
    assert _seen(page, 0) == [[2], LABELS[2], LABELS[2]]
    assert _seen(page, 1) == [[0], LABELS[0], LABELS[0]]
    bar.send_keys(Keys.HOME)
    assert _seen(page, 0) == [[0], LABELS[0], LABELS[0]]
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
