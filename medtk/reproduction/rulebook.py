"""Which function tests which claim.

A claim names a rule; the rule is the function of that name in the module of its paper. A claim whose rule is not
written stays unrecorded: it waits for an experiment, and for the function that reads it.
"""

from collections.abc import Callable

from medtk.reproduction import (
    rules,
    rules_clustered_covid,
    rules_clustered_covid_rounds,
    rules_defenses,
    rules_hospital,
    rules_hospital_privacy,
    rules_lightweight,
    rules_lightweight_systems,
    rules_pgsl,
    rules_pgsl_errors,
)
from medtk.reproduction.evidence import Case, Evidence
from medtk.reproduction.papers import Claim

# Modules with the rules of a paper.
BOOKS = {
    "robust_transfer": (rules, rules_defenses),
    "clustered_covid": (rules_clustered_covid, rules_clustered_covid_rounds),
    "pgsl": (rules_pgsl, rules_pgsl_errors),
    "lightweight": (rules_lightweight, rules_lightweight_systems),
    "hospital": (rules_hospital, rules_hospital_privacy),
}


def find(paper: str, rule: str) -> Callable[[Evidence], list[Case]] | None:
    """The function behind a rule's name, or None where there is none."""
    return next((getattr(book, rule) for book in BOOKS.get(paper, ()) if hasattr(book, rule)), None)


def cases(claim: Claim, paper: str, evidence: Evidence) -> list[Case]:
    """Cases of a claim that the evidence speaks to; none where no rule is written."""
    rule = find(paper, claim.rule)
    return rule(evidence) if rule else []
