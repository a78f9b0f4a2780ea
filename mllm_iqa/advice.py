"""What to do about findings: rules that hold, none against another, the largest expected gain first.

Pure functions; no model is asked. Every finding gets a piece of advice, alone or together with others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

from .advice_rules import FileCondition, Rule, Rules, Scaled, shipped_rules, without_findings
from .errors import PromptError
from .file_facts import LOSSLESS_FORMATS
from .levels import LEVELS
from .prompt_files import load_prompt
from .types import Advice, Comparison, FileFacts, Finding, ImageInfo, Score

_SURE = 0.5
"""Probability of its kind from which on a finding is taken at its word; below, only its family is."""


@dataclass(frozen=True, slots=True)
class _Match:
    """A rule that holds, and the places of the findings it is about."""

    source: str
    rule: Rule
    places: tuple[int, ...]

    @property
    def weight(self) -> tuple[int, int]:
        """Rules that know more go first: by findings, then by conditions."""
        return (-len(self.places), -self.rule.conditions)


def advise(
    findings: Sequence[Finding], image: ImageInfo, *, reference: ImageInfo | None = None, rules: Rules | None = None
) -> tuple[Advice, ...]:
    """What to do about the findings of one picture.

    A finding whose kind the model gave less than half of the probability counts as its family alone, since kinds of one
    family are easily taken for each other. Of the rules that hold, those that are about more findings and ask for more
    facts are taken first; a rule about a finding that has its advice already, or whose action contradicts one taken
    before, is left out. What is taken is ordered by expected gain: the rule's gain (1..3) times the largest severity it
    is about.

    Args:
        findings: of the picture, most harmful first.
        image: the picture; what its file says about itself decides on rules.
        reference: what it was judged against.
        rules: the shipped ones in English if None.

    Returns:
        At least one piece of advice for every finding, each finding in exactly one; empty without findings.

    Raises:
        PromptError: a finding of a kind that no rule knows.
    """
    chosen_rules = shipped_rules() if rules is None else rules
    chosen: list[_Match] = []
    covered: set[int] = set()
    actions: set[str] = set()
    for match in _matches(findings, image, reference, chosen_rules):
        fresh = covered.isdisjoint(match.places)
        if fresh and not contradictory(actions, match.rule.does, chosen_rules):
            chosen.append(match)
            covered.update(match.places)
            actions.update(match.rule.does)
    for place, finding in enumerate(findings):
        if place not in covered:
            raise PromptError(f"{chosen_rules.name} has no advice about {finding.kind!r}")
    chosen.sort(key=lambda m: (-m.rule.gain * max(findings[i].severity for i in m.places), min(m.places)))
    return tuple(_said(match, findings, image, reference, chosen_rules) for match in chosen)


def contradictory(actions: set[str], more: Sequence[str], rules: Rules) -> bool:
    """Whether an action of `more` must not be told together with one of `actions`."""
    return any(frozenset((a, b)) in rules.contradictions for a in actions for b in more if a != b)


def nothing_to_do(score: Score, *, language: str = "en") -> str | None:
    """What to say of a picture in which nothing was found; None where there is advice, or nothing was looked for."""
    if score.advice is None or score.advice:
        return None
    return without_findings("clean" if LEVELS.index(score.level) < 2 else "unclear", language=language)


def advised(score: Score, rules: Rules | None = None) -> Score:
    """The score with advice about its findings; unchanged where they were not looked for."""
    if score.distortions is None:
        return score
    return replace(score, advice=advise(score.distortions, score.image, reference=score.reference, rules=rules))


def advised_comparison(comparison: Comparison, rules: Rules | None = None) -> Comparison:
    """The comparison with what its loser needs; unchanged where findings were not looked for."""
    if comparison.distortions_a is None or comparison.distortions_b is None:
        return comparison
    if comparison.winner == "tie":
        return replace(comparison, advice=())
    loses_a = comparison.winner == "b"
    loser = comparison.a if loses_a else comparison.b
    findings = comparison.distortions_a if loses_a else comparison.distortions_b
    return replace(comparison, advice=advise(findings, loser, reference=comparison.reference, rules=rules))


def _matches(findings: Sequence[Finding], image: ImageInfo, reference: ImageInfo | None, rules: Rules) -> list[_Match]:
    """Every rule that holds, those that know more first, else in the order of the rules."""
    # By severity and name, so that what is said does not depend on the order of the findings.
    places = sorted(range(len(findings)), key=lambda i: (-findings[i].severity, findings[i].kind))
    matched: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place in places:
        finding = findings[place]
        kind = finding.kind if finding.probability >= _SURE else finding.family
        for key in _patterns_matched(rules, kind, finding.family, finding.severity):
            matched[key].append(place)
    names = {name for finding in findings for name in (finding.kind, finding.family)}  # sure or not
    scaled = None if reference is None else _scaled(image, reference)
    found = []
    for number in sorted({number for number, _ in matched}):
        source, rule = rules.rules[number]
        wanted = (
            names.isdisjoint(rule.without)
            and (rule.reference is None or rule.reference == (reference is not None))
            and (rule.scaled is None or rule.scaled == scaled)
            and (rule.file is None or _file_is(rule.file, image.file))
        )
        if wanted:
            choices = [matched.get((number, i), []) for i in range(len(rule.findings))]
            found += [_Match(source, rule, way) for way in product(*choices) if len(set(way)) == len(way)]
    return sorted(found, key=lambda match: match.weight)


@lru_cache(maxsize=4096)
def _patterns_matched(rules: Rules, kind: str, family: str, severity: int) -> tuple[tuple[int, int], ...]:
    """Which patterns of which rules a finding matches, by their numbers."""
    return tuple(
        (number, i)
        for number, (_, rule) in enumerate(rules.rules)
        for i, pattern in enumerate(rule.findings)
        if pattern.matches(kind, family, severity)
    )


def _scaled(image: ImageInfo, reference: ImageInfo) -> Scaled:
    """How the picture's size stands to the reference's; a change in one side alone is no scaling."""
    wide, high = image.width - reference.width, image.height - reference.height
    if wide < 0 and high < 0:
        return "down"
    return "up" if wide > 0 and high > 0 else "same"


def _file_is(wanted: FileCondition, facts: FileFacts | None) -> bool:
    if facts is None:
        return False
    quality = facts.jpeg_quality
    return (
        (wanted.format is None or facts.format in wanted.format)
        and (wanted.lossless is None or wanted.lossless == (facts.format in LOSSLESS_FORMATS))
        and (wanted.palette is None or wanted.palette == facts.palette)
        and (wanted.bits is None or wanted.bits[0] <= facts.bits <= wanted.bits[1])
        and (
            wanted.jpeg_quality is None
            or (quality is not None and wanted.jpeg_quality[0] <= quality <= wanted.jpeg_quality[1])
        )
    )


def _said(
    match: _Match, findings: Sequence[Finding], image: ImageInfo, reference: ImageInfo | None, rules: Rules
) -> Advice:
    about = [findings[i] for i in sorted(match.places)]
    words = load_prompt("vocabulary.v1", rules.language)
    names = [words.phrase(f"kind/{f.kind}" if f.probability >= _SURE else f"family/{f.family}") for f in about]
    listed = names[0]
    for i, name in enumerate(names[1:], start=2):
        listed = words.phrase("and" if i == len(names) else "comma", before=listed, item=name)
    facts = image.file
    text = match.rule.text.format(
        kind=names[0],
        kinds=listed,
        quality="" if facts is None else facts.jpeg_quality,
        format="" if facts is None else facts.format,
        size=f"{image.width}x{image.height}",
        reference_size="" if reference is None else f"{reference.width}x{reference.height}",
    )
    return Advice(tuple(f.kind for f in about), text[:1].upper() + text[1:], f"{match.source}/{match.rule.id}")
