"""The network in the page: its file, and a headless browser that must answer as Python does, with no network."""

import base64
import hashlib
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from medtk.edge import bundle

TOLERANCE = 1e-5
# Of the file as the package of version 4.22.0 has it.
RUNTIME = {"tf.min.js": "300dfae273d20b4046f46a06d735688f03675a807561e9bcb5f664eb2f3d2831"}


@pytest.fixture(scope="module")
def folder(root):
    return root / "book" / "_static" / "browser"


@pytest.fixture(scope="module")
def model(folder):
    text = (folder / "model.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("window.medtkModel = ").rstrip().removesuffix(";"))


@pytest.fixture(scope="module")
def page(root, folder, open_browser, tmp_path_factory):
    """The part of the page that computes, on a page of its own; the whole book is looked at elsewhere."""
    home = tmp_path_factory.mktemp("browser")
    shutil.copytree(folder, home / "_static" / "browser")
    (home / "book").mkdir()
    file = home / "book" / "page.html"
    part = (folder / "page.html").read_text(encoding="utf-8")
    file.write_text(f"<!doctype html><html lang=en><meta charset=utf-8><title>t</title>{part}", encoding="utf-8")
    browser = open_browser(390)
    browser.get(file.as_uri())
    return browser


def answer(page):
    """What is on view: message, probabilities of the bars, whether there is a result."""
    return page.execute_script(
        "const all = [...document.querySelectorAll('#try meter')];"
        "return [document.querySelector('#try-message').textContent, all.map(one => one.value),"
        " !document.querySelector('#try-result').hidden];"
    )


def wait_for(page, words):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page, 20).until(lambda _: words in answer(page)[0])
    return answer(page)


def python_says(model, pixels):
    """Probabilities from the layers of the file, computed with NumPy alone."""
    x = pixels[0]
    for layer in model["layers"]:
        if "weights" in layer:
            q = np.frombuffer(base64.b64decode(layer["weights"]), np.int8).reshape(layer["shape"])
            scale, bias = (np.frombuffer(base64.b64decode(layer[name]), "<f4") for name in ("scale", "bias"))
            kernel = (q * scale).astype(np.float32)
        if layer["kind"] == "conv":
            assert (layer["stride"], layer["padding"]) == (1, "same")
            reach = kernel.shape[0] // 2
            padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(0, 1))
            x = np.einsum("hwcij,ijco->hwo", windows, kernel, optimize=True) + bias
        elif layer["kind"] == "pool":
            height, width, channels = x.shape
            x = x.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))
        elif layer["kind"] == "mean":
            x = x.mean(axis=(0, 1))
        elif layer["kind"] == "dense":
            x = x @ kernel + bias
        else:
            powers = np.exp(x - x.max())
            x = powers / powers.sum()
        x = np.maximum(x, 0) if layer.get("relu") else x
    return x


def decoded(example):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(example["png"]))))


def test_the_files_are_whole_and_small(folder, model):
    for name, digest in RUNTIME.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert "Apache License" in (folder / "LICENSE-tensorflow.txt").read_text(encoding="utf-8")
    layers = json.dumps(model["layers"], sort_keys=True).encode()
    assert hashlib.sha256(layers).hexdigest() == model["sha256"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6
    assert "Not for clinical use" in model["about"]["purpose"]


def test_the_card_says_what_the_record_says(root, folder, model):
    record = json.loads((root / "results" / f"{model['about']['record']}.json").read_text(encoding="utf-8"))
    clean, told = record["metrics"]["clean"], model["about"]["test"]
    assert told["confusion"] == clean["confusion"]
    assert told["balanced_accuracy"] == pytest.approx(clean["balanced_accuracy"], abs=1e-4)
    assert f"{100 * clean['accuracy']:.1f} %" in (folder / "card.txt").read_text(encoding="utf-8")


def test_the_stored_answers_are_those_of_the_stored_weights(model):
    for example in model["examples"]:
        pixels = bundle.prepared([decoded(example)], model["size"], 1)
        np.testing.assert_allclose(python_says(model, pixels), example["probabilities"], atol=TOLERANCE)


def test_the_browser_prepares_an_image_as_python_does(page, model):
    for example in model["examples"]:
        pixels = decoded(example)
        height, width = pixels.shape[:2]
        colour = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        rgba = np.concatenate([colour, np.full((height, width, 1), 255, np.uint8)], axis=2)
        call = "return Array.from(medtkPage.preprocess(arguments[0], arguments[1], arguments[2]));"
        found = page.execute_script(call, rgba.ravel().tolist(), width, height)
        np.testing.assert_allclose(found, bundle.prepared([pixels], model["size"], 1).ravel(), atol=1e-6)


def test_examples_are_answered_as_python_answers_them(page, model):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    buttons = page.find_elements(By.CSS_SELECTOR, "#try-examples button")
    assert len(buttons) == len(model["examples"]) >= 4
    for number, (button, example) in enumerate(zip(buttons, model["examples"], strict=True), start=1):
        button.send_keys(Keys.ENTER)  # by keyboard
        message, bars, shown = wait_for(page, f"Example {number}:")
        np.testing.assert_allclose(bars, example["probabilities"], atol=TOLERANCE)
        assert shown and "Python gave the same to" in message and "Not for clinical use" in message
        assert float(re.search(r"the same to ([\d.e-]+\d)", message).group(1)) <= TOLERANCE


def test_a_picture_of_the_reader_is_answered_here(page, model, tmp_path):
    from selenium.webdriver.common.by import By

    random = np.random.default_rng(5)
    pixels = random.integers(0, 256, (90, 130, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mine.png")
    page.find_element(By.ID, "try-file").send_keys(str(tmp_path / "mine.png"))
    _, bars, _ = wait_for(page, "mine.png: the network answers")
    wanted = python_says(model, bundle.prepared([pixels], model["size"], 1))
    np.testing.assert_allclose(bars, wanted, atol=TOLERANCE)


def test_a_dropped_picture_is_answered_and_what_is_no_image_is_refused(page):
    drop = """
        const [name, type, content] = arguments;
        const moved = new DataTransfer();
        moved.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name, {type}));
        document.querySelector('#try-zone').dispatchEvent(new DragEvent('drop', {dataTransfer: moved, bubbles: true}));
    """
    buffer = io.BytesIO()
    Image.fromarray(np.full((70, 70), 90, np.uint8)).save(buffer, format="JPEG")
    page.execute_script(drop, "film.jpg", "image/jpeg", base64.b64encode(buffer.getvalue()).decode())
    _, before, _ = wait_for(page, "film.jpg: the network answers")
    page.execute_script(drop, "notes.txt", "text/plain", base64.b64encode(b"no picture").decode())
    message, after, _ = wait_for(page, "notes.txt is not an image")
    assert "PNG" in message and after == before
    assert page.execute_script("return document.querySelector('#try-message').className") == "try-wrong"


def test_the_marked_pixels_are_the_slope_of_the_answer(page, model):
    """Against finite differences of the page's own answers, at the pixels that matter most."""
    pixels = bundle.prepared([decoded(model["examples"][0])], model["size"], 1).ravel()
    slope = page.execute_script("return medtkPage.saliency(new Float32Array(arguments[0]), 1);", pixels.tolist())
    lead = """
        const p = medtkPage.predict(new Float32Array(arguments[0]));
        return Math.log(p[1]) - Math.log(p[0]);
    """
    assert len(slope) == model["size"] ** 2 and min(slope) >= 0
    for place in np.argsort(slope)[-3:]:
        ends = []
        for step in (-2e-4, 2e-4):  # small, so that no ReLU changes sides
            moved = pixels.astype(float)
            moved[place] += step
            ends.append(page.execute_script(lead, moved.tolist()))
        assert abs(ends[1] - ends[0]) / 4e-4 == pytest.approx(slope[place], rel=0.05)


def test_nothing_is_fetched_from_elsewhere_and_the_page_fits_a_phone(page, folder):
    found = "return [...document.querySelectorAll('script, link, img')].map(one => one.src || one.href);"
    loaded = page.execute_script(found)
    assert len(loaded) >= 8 and all(name.startswith(("file:", "data:")) for name in loaded)
    own = (folder / "page.js").read_text(encoding="utf-8")
    assert not re.search(r"fetch\(|XMLHttpRequest|sendBeacon|WebSocket|https?:", own)
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth;"
    assert page.execute_script(wide) <= 0
    unnamed = """
        return [...document.querySelectorAll('#try img, #try input, #try button, #try meter, #try canvas')].filter(
            one => !(one.alt || one.ariaLabel || one.textContent.trim() || (one.labels && one.labels.length))).length;
    """
    assert page.execute_script(unnamed) == 0
    assert "Not for clinical use" in page.execute_script("return document.querySelector('#try').innerText;")
