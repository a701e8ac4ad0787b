"""Rules for the claims of the study on three hospitals about what shared weights tell, and what noise costs."""

from collections import defaultdict

from medtk import privacy
from medtk.reproduction import paired
from medtk.reproduction.evidence import NAMES, Case, Evidence
from medtk.reproduction.paired import Side
from medtk.reproduction.rules_hospital import at_most_below, setting_of


def weights_are_private(evidence: Evidence) -> list[Case]:
    """An attack on the shared network tells training images from others better than chance: then it is not private.

    The attack reads each image's loss (`medtk.privacy.attack_success`); a case is a network that was trained without
    noise. It fails where the 95 % interval of the area under the curve lies above one half. Else it is open, and never
    holds: that one attack finds nothing says nothing of a better one.
    """
    cases = []
    for record in _private(evidence):
        if record["parameters"]["level"] == "none" and evidence.predictions is not None:
            kept = evidence.predictions(record)
            found = privacy.attack_success(-kept["members/loss"], -kept["others/loss"])
            text = f"area {found.auc:.3f}, {found.auc_interval.low:.3f} to {found.auc_interval.high:.3f}"
            name = f"{NAMES[record['data']['name']]}, seed {record['seed']}"
            holds = False if found.auc_interval.low > 0.5 else None
            cases.append(Case(name, holds, text, records=(record["id"],)))
    return cases


def noise_can_be_added(evidence: Evidence) -> list[Case]:
    """With noise that keeps a stated epsilon, balanced accuracy falls by at most 5 points.

    A case is a setting with noise (what the promise covers, one image or a whole hospital, epsilon, and all others),
    on all test images. Beside it stands the same training without the noise, its optimizer and its clipping kept; where
    that is not recorded, plain training for as many rounds. Open where the interval of the difference, over the seeds
    that both have, holds both answers, as it does for fewer than three seeds; and where nothing is learned without
    noise either.
    """
    settings: dict[tuple, dict[int, dict]] = defaultdict(dict)
    for record in _private(evidence):
        settings[promised(record["parameters"])][record["seed"]] = record
    plain: dict[tuple, list[dict[int, dict]]] = defaultdict(list)
    for runs in settings.values():
        if _first(runs)["level"] == "none":
            plain[_without_noise(_first(runs))].append(runs)
    cases = []
    for noisy in settings.values():
        p = _first(noisy)
        if p["epsilon"] is None:
            continue
        control = settings.get(promised(p | {"epsilon": None}))
        for beside in [control] if control else plain[_without_noise(p)]:
            if not (seeds := sorted(set(noisy) & set(beside))):
                continue
            with_noise, without = ({s: Side(runs[s], "global") for s in seeds} for runs in (noisy, beside))
            # Of two classes, as all sets here have.
            holds, text = at_most_below(evidence, with_noise, without, 0.5 + paired.LEARNED)
            what = {"record": "image", "client": "hospital"}[p["level"]]
            text = f"with noise less without: {text}" + ("" if control else "; other optimizer and steps, too")
            used = tuple(runs[s]["id"] for runs in (beside, noisy) for s in seeds)
            name = f"{NAMES[p['dataset']]}, each {what} within epsilon {p['epsilon']:g}"
            cases.append(Case(name, holds, text, records=used))
    return cases


def promised(p: dict) -> tuple:
    """All parameters of a private run that its seeds have in common."""
    # Who trains on how many images, and so the noise, comes from the deal, and that from the seed.
    return setting_of({name: value for name, value in p.items() if name not in ("noise_multipliers", "members")})


def _first(runs: dict[int, dict]) -> dict:
    return next(iter(runs.values()))["parameters"]


def _without_noise(p: dict) -> tuple:
    """What a run shares with the one beside it; noise asks for another optimizer, step and batch."""
    return tuple(str(p.get(name)) for name in ("dataset", "network", "partition", "val_fraction", "rounds"))


def _private(evidence: Evidence) -> list[dict]:
    return [record for record in evidence.records if record["experiment"] == "privacy"]
