"""Rules for the claims of the clustered-learning study on rounds: when to stop, what is sent, what stays private.

They read what records hold round by round. The loss on test images jumps from round to round, and the lowest of many
single values lies below any mean by chance alone. So means of ten rounds are compared with means of ten rounds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medtk import federated
from medtk.privacy import attack_success
from medtk.reproduction.evidence import Case, Evidence, percent

WINDOW = 5  # rounds that the tables and figures average
BLOCK = 10  # rounds that the rules compare
RISE = 0.10
# Passes over each client's images after which conventional averaging is said to overfit, and clustered averaging later:
# 50 rounds of 5 local epochs. Another number of local epochs makes another number of rounds of them.
SAID = 50 * 5
LEAST_ROUNDS = 30  # of a run that can be asked: the shortest of the study's Table II
FAR_LESS = 0.5
BETTER = 0.05
MODALITIES = {"xray": "X-ray", "ultrasound": "ultrasound"}


def payload(evidence: Evidence) -> list[Case]:
    """In 30 rounds, the fewest of Table II, weights weigh at most half as much as the clients' training images.

    A case is a recorded network and a form in which the images might be sent.
    """
    cases = []
    for record in _of(evidence, "communication"):
        found = record["metrics"]
        a_round = round_megabytes(record)
        for name in sorted(found):
            form = name.removeprefix("images-")
            if form == name:
                continue
            images = found[name]["megabytes"]
            text = f"{a_round:.1f} MB a round, images {images:.1f} MB: as much after {images / a_round:.2f} rounds"
            holds = LEAST_ROUNDS * a_round <= FAR_LESS * images
            title = f"{record['parameters']['network']}, images as {form.replace('_', ' ')}"
            cases.append(Case(title, holds, text, records=(record["id"],)))
    return cases


def round_megabytes(record: dict) -> float:
    """What all clients send and get in a round, from a record of traffic."""
    found = record["metrics"]
    return sum(found[way]["megabytes"] * found[way]["n"] for way in ("up", "down"))


def clustered_overfits_later(evidence: Evidence) -> list[Case]:
    """Algorithm 1 has its lowest test loss at a later round than conventional averaging, and overfits after it.

    A case is a pair of runs that differ in nothing else, of 30 rounds or more, and a modality. It stays open in runs
    with no more passes over the images than the study's 50 rounds, where Algorithm 1 was best at its end (when it
    overfits, if ever, is not known then), and where its training loss has risen with the test loss: that is a training
    that has become unstable, and no evidence.
    """
    cases = []
    for run, pairs in _pairs(evidence, ("multi_modal", "clustered")).items():
        for modality, both in pairs.items():
            ours, theirs = (_course(evidence, both[way]) for way in ("clustered", "multi_modal"))
            holds = None
            if passes(both["clustered"]["parameters"]) > SAID and ours.overfitted is not None:
                holds = ours.best > theirs.best and ours.overfitted
            text = f"clustered: {ours.text}; conventional: {theirs.text}"
            cases.append(Case(f"{modality}, {run}", holds, text, records=_ids(both)))
    return cases


def stop_at_inflection(evidence: Evidence) -> list[Case]:
    """From some round on the specialised models part faster; after it the shared model's loss falls no more.

    The round is where two lines fit the distance of the specialised models best (`medtk.federated.bend`). It counts as
    the study's inflection point if the distance grows faster from there on. No more: of all ten rounds in a row after
    that round, those with the lowest mean test loss of Algorithm 1 are at most 5 % below the ten rounds up to it.
    Runs of 30 rounds or more; open where fewer than ten rounds lie before the bend or after it. The distance is one
    series a run: where it decides alone the run is one case, and where the loss decides there is one a modality.
    """
    cases = []
    for run, pairs in _pairs(evidence, ("specialised", "clustered")).items():
        used = tuple(name for both in pairs.values() for name in _ids(both))
        bend = federated.bend(_values(evidence, next(iter(pairs.values()))["specialised"], "distance"))
        if bend is None:
            cases.append(Case(run, False, "the distance grows along one line, without a bend", records=used))
            continue
        text = f"bend at round {bend.round}: {bend.before:.3g} a round before, {bend.after:.3g} after"
        if not bend.after > max(bend.before, 0):
            # They part more slowly from there on, whatever the losses do.
            cases.append(Case(run, False, text, records=used))
            continue
        for modality, both in pairs.items():
            holds, said = _gained(_values(evidence, both["clustered"], "loss"), bend.round)
            cases.append(Case(f"{modality}, {run}", holds, f"{text}; {said}", records=_ids(both)))
    return cases


def _gained(loss: np.ndarray, bend: int) -> tuple[bool | None, str]:
    """Whether a loss falls no more after a bend, and that in words."""
    before, after = loss[:bend][-BLOCK:], loss[bend:]
    if min(len(before), len(after)) < BLOCK:
        return None, "too near to an end of the run to compare the losses"
    gain = 1 - blocks(after).min() / before.mean()
    return bool(gain <= BETTER), f"the loss still falls by {percent(gain)}"


def privacy(evidence: Evidence) -> list[Case]:
    """The shared model does not tell training images from others.

    The attack reads each image's loss (`medtk.privacy.attack_success`). It refutes the claim where the 95 % interval of
    the area under the curve lies above one half, and the split was by frame. It can never confirm it: another attack
    may succeed where this one finds nothing, so such a case stays open.

    By patient, other people are on the two sides, and the loss may tell these people apart instead of training images
    from others. So does an area below one half, whatever the split: images that were trained on do not get harder by
    it. Membership cannot be judged from either, and the case stays open.
    """
    cases = []
    for record in _of(evidence, "members"):
        if evidence.predictions is None:
            continue
        kept = evidence.predictions(record)
        found = attack_success(-kept["members/loss"], -kept["others/loss"])
        p, (low, high) = record["parameters"], found.auc_interval
        text = f"area {found.auc:.3f}, {low:.3f} to {high:.3f}"
        name = f"{MODALITIES[p['modality']]}, {setting_of(p)}, seed {record['seed']}"
        told = low > 0.5 and p["split"] == "frame"
        if high < 0.5 or (low > 0.5 and not told):
            text += ": the two sides differ, membership cannot be judged"
        elif not told:
            text += ": this attack finds nothing, which proves nothing"
        cases.append(Case(name, False if told else None, text, records=(record["id"],)))
    return cases


class Course(NamedTuple):
    """How a test loss went, in means of ten rounds.

    Attributes
    ----------
    best : int
        Last of the ten rounds with the lowest mean, from 1.
    overfitted : bool or None
        Whether the last ten rounds are a tenth above that or more, while the training loss is lower; None where the
        training loss has risen as well, and where the best ten rounds overlap the last ten, so that nothing came after
        them.
    text : str
        The numbers.
    """

    best: int
    overfitted: bool | None
    text: str


def course(loss: Sequence[float], training: Sequence[float]) -> Course:
    """How a run went, from its test loss and its training loss after each round."""
    test, trained = blocks(loss), blocks(training)
    at, last = int(np.argmin(test)), len(test) - 1
    rounds = len(np.asarray(loss))
    text = (
        f"lowest test loss in rounds {at + 1} to {at + rounds - last} of {rounds}: {test[at]:.4f}, at the end "
        f"{test[-1]:.4f}; training loss there {trained[at]:.4f}, at the end {trained[-1]:.4f}"
    )
    apart, rises = last - at >= rounds - last, bool(test[-1] >= (1 + RISE) * test[at])
    overfitted = None if not apart or (rises and trained[-1] >= trained[at]) else rises
    return Course(at + rounds - last, overfitted, text)


def blocks(values: Sequence[float], width: int = BLOCK) -> np.ndarray:
    """Mean of every `width` values in a row (of all, if there are fewer)."""
    values = np.asarray(values, np.float64)
    width = min(width, len(values))
    return np.convolve(values, np.full(width, 1 / width), "valid")


def smoothed(values: Sequence[float], window: int = WINDOW) -> np.ndarray:
    """Running mean of each value and its neighbours, as far as there are any; as many values as were given."""
    values = np.asarray(values, np.float64)
    kernel = np.ones(min(window, len(values)))
    counts = np.convolve(np.ones(len(values)), kernel, "same")
    return np.convolve(values, kernel, "same") / counts


def best_round(loss: np.ndarray) -> int:
    """Round of the lowest loss, from 1."""
    return int(np.argmin(loss)) + 1


def passes(parameters: Mapping) -> int:
    """How often a run goes over each client's images."""
    return parameters["rounds"] * parameters["local_epochs"]


def setting_of(parameters: Mapping) -> str:
    """All that decides a run in words, but its way and its seed: two settings must never share a name."""
    p = parameters
    weights = "" if p["weights"] == "auto" else f" ({p['weights']} weights)"
    return (
        f"{p['network']}{weights} at {p['size']} pixels, {p['clients']} clients a modality, {p['rounds']} rounds of "
        f"{p['local_epochs']}, batch {p['batch_size']}, rate {p['learning_rate']:g}, split by {p['split']}"
    )


def _of(evidence: Evidence, experiment: str) -> list[dict]:
    return [record for record in evidence.records if record["experiment"] == experiment]


def _values(evidence: Evidence, record: dict, what: str) -> np.ndarray:
    return evidence.predictions(record)[f"rounds/{what}"].astype(np.float64)


def _course(evidence: Evidence, record: dict) -> Course:
    return course(*(_values(evidence, record, what) for what in ("loss", "training_loss")))


def _ids(both: Mapping[str, dict]) -> tuple[str, ...]:
    return tuple(record["id"] for record in both.values())


def _pairs(evidence: Evidence, ways: tuple[str, str]) -> dict[str, dict[str, dict[str, dict]]]:
    """Records of long runs that differ only in the way to train, by run, modality and way; both ways must be there."""
    groups: dict[str, dict[str, dict[str, dict]]] = defaultdict(lambda: defaultdict(dict))
    for record in _of(evidence, "setups") if evidence.predictions else []:
        p = record["parameters"]
        if p["way"] in ways and p["rounds"] >= LEAST_ROUNDS:
            run = f"{setting_of(p)}, seed {record['seed']}"
            groups[run][MODALITIES[p["modality"]]][p["way"]] = record
    found = {run: {m: both for m, both in pairs.items() if len(both) == len(ways)} for run, pairs in groups.items()}
    return {run: pairs for run, pairs in found.items() if pairs}
