"""Rules for the claims of the clustered-learning study on rounds: when to stop, what is sent, what stays private.

They read what records hold round by round. "Overfitting" is asked of the loss on test images, smoothed over five
rounds: the round where it is lowest, and whether it has risen by a tenth at the end.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from medtk import federated
from medtk.privacy import attack_success
from medtk.reproduction.evidence import Case, Evidence, percent

WINDOW = 5
RISE = 0.10
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
        a_round = sum(found[way]["megabytes"] * found[way]["n"] for way in ("up", "down"))
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


def clustered_overfits_later(evidence: Evidence) -> list[Case]:
    """Algorithm 1 has its lowest test loss at a later round than conventional averaging, and overfits after it.

    A case is a pair of runs that differ in nothing else, of 30 rounds or more, and a modality.
    """
    cases = []
    for name, both in _pairs(evidence, ("multi_modal", "clustered")):
        ours, theirs = (_curve(evidence, both[way], "loss") for way in ("clustered", "multi_modal"))
        later, overfits = best_round(ours) > best_round(theirs), overfitted(ours)
        text = (
            f"lowest loss: clustered round {best_round(ours)}, conventional round {best_round(theirs)} of {len(ours)}; "
            f"clustered at the end {ours[-1] / ours.min():.2f} times its lowest"
        )
        cases.append(Case(name, later and overfits, text, records=tuple(r["id"] for r in both.values())))
    return cases


def stop_at_inflection(evidence: Evidence) -> list[Case]:
    """From some round on the specialised models part faster; after it the shared model's loss falls no more.

    The round is where two lines fit the distance of the specialised models best (`medtk.federated.bend`). It counts as
    the study's inflection point if the distance grows faster from there on. No more: the lowest test loss of
    Algorithm 1 after that round is at most 5 % below the loss there. Runs of 30 rounds or more.
    """
    cases = []
    for name, both in _pairs(evidence, ("specialised", "clustered")):
        used = tuple(r["id"] for r in both.values())
        bend = federated.bend(_values(evidence, both["specialised"], "distance"))
        if bend is None:
            cases.append(Case(name, False, "the distance grows along one line, without a bend", records=used))
            continue
        loss = _curve(evidence, both["clustered"], "loss")
        gain = 1 - loss[bend.round - 1 :].min() / loss[bend.round - 1]
        faster = bend.after > max(bend.before, 0)
        text = (
            f"bend at round {bend.round}: {bend.before:.3g} a round before, {bend.after:.3g} after; "
            f"the loss still falls by {percent(gain)}"
        )
        cases.append(Case(name, bool(faster and gain <= BETTER), text, records=used))
    return cases


def privacy(evidence: Evidence) -> list[Case]:
    """The shared model does not tell training images from others.

    The attack reads each image's loss (`medtk.privacy.attack_success`). It refutes the claim where the 95 % interval of
    the area under the curve lies above one half. It can never confirm it: another attack may succeed where this one
    finds nothing, so such a case stays open.
    """
    cases = []
    for record in _of(evidence, "members"):
        if evidence.predictions is None:
            continue
        kept = evidence.predictions(record)
        found = attack_success(-kept["members/loss"], -kept["others/loss"])
        p = record["parameters"]
        text = f"area {found.auc:.3f}, {found.auc_interval.low:.3f} to {found.auc_interval.high:.3f}"
        name = f"{MODALITIES[p['modality']]}, split by {p['split']}, seed {record['seed']}"
        told = found.auc_interval.low > 0.5
        text += "" if told else ": this attack finds nothing, which proves nothing"
        cases.append(Case(name, False if told else None, text, records=(record["id"],)))
    return cases


def smoothed(values: Sequence[float], window: int = WINDOW) -> np.ndarray:
    """Running mean of each value and its neighbours, as far as there are any; as many values as were given."""
    values = np.asarray(values, np.float64)
    kernel = np.ones(min(window, len(values)))
    counts = np.convolve(np.ones(len(values)), kernel, "same")
    return np.convolve(values, kernel, "same") / counts


def best_round(loss: np.ndarray) -> int:
    """Round of the lowest loss, from 1."""
    return int(np.argmin(loss)) + 1


def overfitted(loss: np.ndarray) -> bool:
    """Whether a smoothed test loss ends a tenth above its lowest value or higher."""
    return bool(loss[-1] >= (1 + RISE) * loss.min())


def _of(evidence: Evidence, experiment: str) -> list[dict]:
    return [record for record in evidence.records if record["experiment"] == experiment]


def _values(evidence: Evidence, record: dict, what: str) -> np.ndarray:
    return evidence.predictions(record)[f"rounds/{what}"].astype(np.float64)


def _curve(evidence: Evidence, record: dict, what: str) -> np.ndarray:
    return smoothed(_values(evidence, record, what))


def _pairs(evidence: Evidence, ways: tuple[str, str]) -> list[tuple[str, dict[str, dict]]]:
    """Records of long runs that differ only in the way to train, with a name; both ways must be there."""
    groups: dict[tuple, dict[str, dict]] = defaultdict(dict)
    for record in _of(evidence, "setups") if evidence.predictions else []:
        p = record["parameters"]
        if p["way"] in ways and p["rounds"] >= LEAST_ROUNDS:
            rest = tuple(sorted((name, str(value)) for name, value in p.items() if name != "way"))
            groups[rest, record["seed"]][p["way"]] = record
    found = []
    for (_, seed), both in groups.items():
        if len(both) == len(ways):
            p = both[ways[0]]["parameters"]
            name = (
                f"{MODALITIES[p['modality']]}, {p['network']} at {p['size']} pixels, split by {p['split']}, seed {seed}"
            )
            found.append((name, both))
    return found
