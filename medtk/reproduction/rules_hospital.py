"""Rules for the claims of the study on three hospitals, on its Tables 1 and 2."""

from medtk.reproduction.evidence import Case, Evidence, compare, percent

HOSPITALS = ("Hospital 1", "Hospital 2", "Hospital 3")
TIGHT = 0.05
CLOSE = 0.02
COMMONEST = 390 / 624


def tightly_grouped(evidence: Evidence) -> list[Case]:
    """Best and worst hospital are at most 5 points apart, in accuracy and in macro F1."""
    cases = []
    for column in ("Accuracy", "F1 Avg"):
        keys = tuple(("2", hospital, column) for hospital in HOSPITALS)

        def judge(values):
            return max(values) - min(values) <= TIGHT, ", ".join(percent(value) for value in values)

        cases.append(compare(evidence, column, keys, judge))
    return cases


def global_close(evidence: Evidence) -> list[Case]:
    """The accuracy on the global test set is within 2 points of that on each hospital's."""
    cases = []
    for hospital in HOSPITALS:
        keys = (("1", "Global Model", "Accuracy"), ("2", hospital, "Accuracy"))

        def judge(values):
            text = f"global {percent(values[0])}, hospital {percent(values[1])}"
            return abs(values[0] - values[1]) <= CLOSE, text

        cases.append(compare(evidence, hospital, keys, judge))
    return cases


def above_commonest(evidence: Evidence) -> list[Case]:
    """Every accuracy is above that of answering pneumonia for every image."""
    places = [("1", "Global Model", "Accuracy"), *(("2", hospital, "Accuracy") for hospital in HOSPITALS)]
    return [compare(evidence, key[1], (key,), lambda v: (v[0] > COMMONEST, percent(v[0]))) for key in places]
