"""The experiments of chapter 33: a split network under a defence, and everything an attacker makes of what it sends."""

import dataclasses
import time
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from medtk import inversion, split_learning
from medtk.data import Dataset, Split
from medtk.lab import pgsl
from medtk.lab.inversion_spec import Spec, as_study, batch_of, cells, deviations, record_name
from medtk.lab.pgsl_images import NETWORK, Attacked, attacked, guide_network
from medtk.lab.pgsl_images import tensors as pgsl_tensors
from medtk.lab.pgsl_spec import PAPER
from medtk.lab.session import Run

MAPS = ("map", "map reader", "map ridge")
FULL_MAP = 4.0  # the map has one number for a block of 2 by 2 pixels, each changed by 1 at most


class Victim(NamedTuple):
    """A trained split network and what its client computes from images.

    Attributes
    ----------
    client : keras.Model
        Tensors to activations.
    tensors : dict of ndarray
        What the first layer sees of the ``train`` and ``test`` images.
    attacked : dict of ndarray
        The images after the client's own pixel attack; the images themselves where there is none.
    probabilities : ndarray, shape (n, classes)
        The server's answers to the test images.
    helper : keras.Model
        The same network, trained without a defence on the plain images: who can read a rebuilt image?
    """

    client: keras.Model
    tensors: dict[str, np.ndarray]
    attacked: dict[str, np.ndarray]
    probabilities: np.ndarray
    helper: keras.Model


def undefended(dataset: Dataset, spec: Spec, *, progress: bool = True) -> keras.Model:
    """The study's network trained without a defence; it sees images as `medtk.split_learning.to_channels` gives them.

    Rearranged pixels are no defence, and a quarter of the places makes the network four times as fast.
    """
    return pgsl.plain_network(dataset, dataset.train.images, as_study(spec), progress=progress).model


def victim(dataset: Dataset, spec: Spec, *, progress: bool = True) -> Victim:
    """Train a split network under the defence of `spec`, or load it.

    Parameters
    ----------
    dataset : Dataset
        From `medtk.lab.pgsl_spec.prepared`.
    spec : Spec
    progress : bool
        Whether to show bars.
    """
    helper, study = undefended(dataset, spec, progress=progress), as_study(spec)
    images = Attacked(dataset.train.images, dataset.test.images, dataset.test.images)
    if spec.on_images:
        guide = guide_network(dataset, study, progress=progress)
        images = attacked(guide, dataset, dataclasses.replace(study, images=spec.on_images))
    shown = {"train": images.train, "test": images.guessed}  # nobody knows the label of a patient to be diagnosed
    if spec.defense == "pgsl":
        sent = pgsl_tensors(images, dataset)
        inputs = {"train": sent.train, "test": sent.guessed}
        client, server = pgsl.streams(dataset, sent.train, study, progress=progress).model.parts
        answers = split_learning.stream_answers(client, server, sent.guessed, mu=spec.mu)["pgsl"]
        return Victim(client, inputs, shown, answers, helper)
    inputs = {part: split_learning.to_channels(one) for part, one in shown.items()}
    model = helper if spec.defense == "none" else _trained(dataset, inputs["train"], spec, progress)
    client, _ = split_learning.split_at(model, spec.cut_layer)
    answers = inversion.predict(model, spec.cut_layer, inputs["test"], spec.on_activations, spec.seed)
    return Victim(client, inputs, shown, answers, helper)


def seen(victim: Victim, spec: Spec, part: str) -> np.ndarray:
    """Activations that the server receives of the ``train`` or ``test`` images."""
    return inversion.observe(victim.client, victim.tensors[part], spec.on_activations, (spec.seed, part == "test"))


def rebuilt(dataset: Dataset, victim: Victim, spec: Spec, *, progress: bool = True) -> dict[str, np.ndarray]:
    """Test images as each attack rebuilds them from activations.

    Returns
    -------
    dict of ndarray
        ``decoder``: a decoder trained on the defended activations, so its owner knows the defence. ``dcgan``: the image
        of a generator whose activations fit best, by somebody who does not know that images are attacked first. Where
        they are: ``plain decoder``, a decoder trained on activations of plain images, whose owner does not know it
        either; ``first layer``, a decoder trained on defended activations for what the client's first layer sees, so
        that the attack stays in the image; ``dcgan recovered``, ``plain decoder recovered`` and ``first layer
        recovered``, the same after the study's recovery. Where the map is sent too: ``map``, the map (half the size)
        that the decoder of the first layer makes; ``map reader``, the map of a decoder trained for nothing else, see
        `map_read`; ``subtracted`` and ``subtracted by reader``, the decoded attacked image less each of them. And what
        needs no training, see `ridge_read`.
    """
    public = dataset.train.images
    known, now = seen(victim, spec, "train"), seen(victim, spec, "test")
    batch, common = batch_of(len(public)), {"seed": spec.seed, "progress": progress}
    how = {"epochs": spec.decoder_epochs, "batch_size": batch} | common
    found = {"decoder": inversion.decode(inversion.train_decoder(known, public, **how), now)}
    found |= ridge_read(known, public, now, victim.tensors["train"] if spec.on_images else None)
    gan = inversion.train_gan(public, epochs=spec.gan_epochs, batch_size=2 * batch, **common)
    through = _from_images(victim.client, dataset.image_shape)
    how_far = {"steps": spec.latent_steps, "restarts": 1, "seed": spec.seed}
    found["dcgan"] = inversion.invert_by_generator(gan.generator, through, now, **how_far)
    if spec.on_images:
        scale = np.ones(victim.tensors["train"].shape[-1], np.float32)
        scale[4:] = FULL_MAP
        reader = inversion.train_decoder(known, victim.tensors["train"] / scale, **how)
        read = inversion.decode(reader, now) * scale
        found["first layer"] = split_learning.to_pixels(read[..., :4])
        empty = np.zeros_like(public)
        plain = split_learning.with_map(public, empty) if spec.defense == "pgsl" else split_learning.to_channels(public)
        naive = inversion.train_decoder(inversion.observe(victim.client, plain), public, **how)
        found["plain decoder"] = inversion.decode(naive, now)
        for name in ("dcgan", "first layer", "first layer by ridge", "plain decoder"):
            found[f"{name} recovered"] = np.clip(split_learning.recovered(found[name], spec.mu), 0, 1)
        if spec.defense == "pgsl":
            maps = {"map": read[..., 4:], "map reader": map_read(known, victim.tensors["train"][..., 4:], now, how)}
            for name, subtracted in (("map", "subtracted"), ("map reader", "subtracted by reader")):
                both = np.concatenate([read[..., :4], maps[name]], axis=-1)
                found[subtracted] = split_learning.map_taken_off(both)
            found |= maps
    return found


def ridge_read(
    known: np.ndarray, public: np.ndarray, now: np.ndarray, tensors: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """What the best line from 3 x 3 places of the activations to pixels makes of them, see `medtk.inversion.fit_ridge`.

    Parameters
    ----------
    known, public : ndarray
        Activations of the attacker's own images, and these images.
    now : ndarray
        Activations that he reads.
    tensors : ndarray, optional
        What the first layer sees of his own images, where the client changes them.

    Returns
    -------
    dict of ndarray
        ``ridge``, the images. With `tensors`: ``first layer by ridge``, the images as attacked; and if a map is sent
        along, ``map ridge``, the map, and ``subtracted by ridge``, these images less this map.
    """
    pixels = split_learning.to_channels(public)
    wanted = pixels if tensors is None else np.concatenate([pixels, tensors], axis=-1)
    read = inversion.read_ridge(inversion.fit_ridge(known, wanted), now)
    read[..., :8] = np.clip(read[..., :8], 0, 1)
    found = {"ridge": split_learning.to_pixels(read[..., :4])}
    if tensors is not None:
        found["first layer by ridge"] = split_learning.to_pixels(read[..., 4:8])
        if tensors.shape[-1] == 5:
            read[..., 8:] = np.clip(read[..., 8:], 0, FULL_MAP)
            found |= {"map ridge": read[..., 8:], "subtracted by ridge": split_learning.map_taken_off(read[..., 4:])}
    return found


def map_read(known: np.ndarray, maps: np.ndarray, now: np.ndarray, how: dict) -> np.ndarray:
    """Maps that an attacker reads from activations with a decoder made for that.

    A map is nearly all 0. The loss gives the few places that are not 0 as much weight as the others, which makes the
    decoder see too much; a straight line, fitted where he knows the maps, brings its answers back to their scale.

    Parameters
    ----------
    known, maps : ndarray
        Activations of the attacker's own images, and the maps that were sent with them.
    now : ndarray
        Activations that he reads.
    how : dict
        Of `medtk.inversion.train_decoder`.
    """
    reader = inversion.train_decoder(known, maps / FULL_MAP, balanced=True, **how)
    own = inversion.decode(reader, known)
    slope, offset = np.polyfit(own.ravel(), maps.ravel(), 1) if np.ptp(own) > 0 else (0.0, maps.mean())
    return np.clip(slope * inversion.decode(reader, now) + offset, 0, FULL_MAP).astype(np.float32)


def of_map(decoded: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """How much of each image's map an attacker has read: correlation, and share of its squares explained, at least -1.

    Images without a map are left out.
    """
    a, b = (one.reshape(len(one), -1).astype(np.float64) for one in (decoded, true))
    there = b.std(axis=1) > 0
    a, b = a[there], b[there]
    centred = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred[0], axis=1) * np.linalg.norm(centred[1], axis=1)
    correlation = (centred[0] * centred[1]).sum(axis=1) / np.maximum(lengths, 1e-12)
    explained = 1 - ((a - b) ** 2).sum(axis=1) / (b**2).sum(axis=1)
    return {"correlation": correlation, "explained": np.maximum(explained, -1.0)}


def defended(
    run: Run, dataset: Dataset, spec: Spec, *, progress: bool = True
) -> tuple[dict[str, np.ndarray], dict, Victim]:
    """Attack one split network from its activations, and record it.

    The record's predictions are the server's answers (``server``), and those of the undefended network to rebuilt
    images: ``read decoder``, ``read ridge`` and ``read dcgan``, which say whether one still shows its class. The
    measurements are `medtk.inversion.errors` of every attack, of the client's own pixel attack (``attacked``) and of
    attackers who look at nothing (``mean``, ``zero``), and `of_map`.

    Returns
    -------
    images : dict of ndarray
        From `rebuilt`.
    record : dict
    victim : Victim
    """
    began = time.perf_counter()
    target = victim(dataset, spec, progress=progress)
    found = rebuilt(dataset, target, spec, progress=progress)
    originals = dataset.test.images
    measured = inversion.baselines(dataset.train.images, originals)
    measured |= {name: inversion.errors(made, originals) for name, made in found.items() if name not in MAPS}
    if spec.on_images:
        measured["attacked"] = inversion.errors(target.attacked["test"], originals)
        measured["attacked recovered"] = inversion.errors(
            split_learning.recovered(target.attacked["test"], spec.mu), originals
        )
    measured |= {name: of_map(found[name], target.tensors["test"][..., 4:]) for name in MAPS if name in found}
    predictions = {"server": target.probabilities}
    for name in ("decoder", "ridge", "dcgan"):
        tensors = split_learning.to_channels(found[name])
        predictions[f"read {name}"] = target.helper.predict(tensors, batch_size=256, verbose=0)
    run.deviations += [one for one in deviations(dataset, spec) if one not in run.deviations]
    record = run.record(
        dataset,
        NETWORK,
        experiment="inversion",
        paper=PAPER,
        name=record_name(dataset.name, dataset.image_shape[0], spec),
        cells=cells(dataset, _rows(spec)),
        parameters=parameters(dataset, spec) | pgsl.recovery_parameters(spec.defense == "pgsl"),
        predictions=predictions,
        measurements=measured,
        seconds=time.perf_counter() - began,
    )
    return found, record, target


def parameters(dataset: Dataset, spec: Spec) -> dict:
    """Settings of a run, for its record."""
    sizes = {"n_train": len(dataset.train), "n_test": len(dataset.test), "size": dataset.image_shape[0]}
    found = {"dataset": dataset.name, **sizes, **{k: v for k, v in dataclasses.asdict(spec).items() if k != "seed"}}
    return found | ({"epsilon": as_study(spec).epsilon} if spec.on_images in ("bim", "fgsm") else {})


def _rows(spec: Spec) -> list[tuple[str, str, str, str]]:
    if spec.cut != 2:
        return []
    if spec.defense == "none":
        return [
            ("I", "DCGAN [19]", "dcgan", "mse"),
            ("I", "MIA [5]", "decoder", "mse"),
            ("II", "DCGAN [19]", "read dcgan", "accuracy"),
        ]
    if spec.defense == "laplace" and spec.strength == 1.0:
        return [("I", "[8] + DCGAN", "dcgan", "mse")]
    if spec.defense == "pgsl":
        return [("I", "JSMA + DCGAN", "dcgan", "mse"), ("I", "Ours (DCGAN)", "dcgan recovered", "mse")]
    return []


def _trained(dataset: Dataset, tensors: np.ndarray, spec: Spec, progress: bool) -> keras.Model:
    model = split_learning.build(dataset.n_classes, tensors.shape[1:], seed=spec.seed)
    split = Split(tensors, dataset.train.labels)
    how = {"epochs": spec.epochs, "batch_size": spec.batch_size, "seed": spec.seed, "progress": progress}
    inversion.train_split(model, spec.cut_layer, split, spec.on_activations, **how)
    return model


def _from_images(client: keras.Model, image_shape: tuple[int, int, int]) -> keras.Model:
    """Client that takes images: it rearranges their pixels, and sends an empty map where one is wanted."""
    images = keras.Input(image_shape)
    height, width, _ = image_shape
    blocks = ops.reshape(images, (-1, height // 2, 2, width // 2, 2))
    tensors = ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4)), (-1, height // 2, width // 2, 4))
    if client.input_shape[-1] == 5:
        tensors = ops.concatenate([tensors, ops.zeros_like(tensors[..., :1])], axis=-1)
    return keras.Model(images, client(tensors))
