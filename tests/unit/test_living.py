import json
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import pytest

from medtk import lab


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def figures(n):
    return [plt.figure(figsize=(1, 1)) for _ in range(n)]


def test_a_slider_holds_every_figure_with_its_own_words_and_needs_no_network():
    labels, open_before = ['ε = 0, "clean"', "ε = 0.001 & more"], plt.get_fignums()
    made = lab.slider(figures(2), labels, name="size of the step", alt="An X-ray.")
    page = Reader()
    page.feed(made.data)
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert [image["alt"] for image in images] == [f"An X-ray. Here: {label}." for label in labels]
    assert ["hidden" in image for image in images] == [False, True]
    assert all(image["src"].startswith("data:image/png;base64,") for image in images)
    box = next(attrs for tag, attrs in page.tags if tag == "div")
    assert json.loads(box["data-labels"]) == labels
    bar = next(attrs for tag, attrs in page.tags if tag == "input")
    assert (bar["max"], bar["aria-valuetext"]) == ("1", labels[0])
    assert "http" not in made.data
    assert plt.get_fignums() == open_before  # other tests may leave theirs


def test_two_sliders_on_a_page_do_not_share_an_id():
    one, two = (lab.slider(figures(2), ["a", "b"], name=name, alt=name) for name in ("x", "y"))
    assert one.data.split('"')[1] != two.data.split('"')[1]


def test_a_slider_wants_one_label_a_figure():
    with pytest.raises(ValueError, match="2 figures, 1 labels"):
        lab.slider(figures(2), ["only one"], name="x", alt="y")
    plt.close("all")
