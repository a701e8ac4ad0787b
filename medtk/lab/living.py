"""Figures that the reader moves: a row of pictures behind a slider, in plain HTML, with no network and no kernel."""

import base64
import hashlib
import html
import io
import json
from collections.abc import Sequence

import matplotlib.pyplot as plt
from IPython.display import HTML


def slider(figures: Sequence[plt.Figure], labels: Sequence[str], *, name: str, alt: str) -> HTML:
    """One figure at a time, chosen by a slider; works in Jupyter, in the published page and from disk.

    Parameters
    ----------
    figures : sequence of Figure
        All of one size; they are closed.
    labels : sequence of str
        What the slider says at each figure; also the text that a screen reader speaks.
    name : str
        Accessible name of the slider: what it changes.
    alt : str
        What the figures show; the label of the figure on view is added.

    Returns
    -------
    IPython.display.HTML

    Raises
    ------
    ValueError
        If there is not one label a figure.
    """
    if len(figures) != len(labels) or not figures:
        raise ValueError(f"one label a figure, please: {len(figures)} figures, {len(labels)} labels.")
    pictures = "".join(
        f'<img src="data:image/png;base64,{_png(figure)}" alt="{html.escape(f"{alt} Here: {label}.")}"'
        f'{"" if number == 0 else " hidden"} style="max-width:100%">'
        for number, (figure, label) in enumerate(zip(figures, labels, strict=True))
    )
    key = f"slider-{hashlib.sha256(pictures.encode()).hexdigest()[:12]}"
    # The script finds its own pictures by the key, so that several sliders live on one page.
    script = (
        f"(function(){{const box=document.getElementById('{key}'),bar=box.querySelector('input'),"
        "said=box.querySelector('output'),all=box.querySelectorAll('img'),words=JSON.parse(box.dataset.labels);"
        "bar.addEventListener('input',function(){all.forEach(function(one,i){one.hidden=i!=bar.value;});"
        "said.textContent=words[bar.value];bar.setAttribute('aria-valuetext',words[bar.value]);});})();"
    )
    words = html.escape(json.dumps(list(labels)))
    return HTML(
        f'<div id="{key}" data-labels="{words}" style="text-align:center">{pictures}'
        f'<p><label>{html.escape(name)} <input type="range" min="0" max="{len(labels) - 1}" value="0" step="1" '
        f'aria-valuetext="{html.escape(labels[0])}"></label> <output>{html.escape(labels[0])}</output></p></div>'
        f"<script>{script}</script>"
    )


def _png(figure: plt.Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()
