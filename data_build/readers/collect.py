"""From entries to records: every picture is looked for, every score checked and mapped, every problem kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mllm_iqa.errors import DataError, ImageError
from mllm_iqa.images import load_image

from .archive import Archive
from .entries import Entry, PairEntry
from .records import Rated, RatedPair, Reading, Unrated, describe
from .scale import Scale
from .score_files import number


@dataclass(frozen=True, slots=True)
class Terms:
    """How to take the entries of one data set.

    Attributes:
        scale: of the scores; None = the set has no scores.
        std_is_spread: whether the archive's deviation is the spread of the raters, and so fit for `Rated.std`.
        family: first part of the group names; sets of one family share their references.
        expected: how many entries there must be; None = any number.
    """

    dataset: str
    scale: Scale | None
    std_is_spread: bool
    family: str
    expected: int | None


def collect(
    entries: Iterable[Entry | PairEntry], archive: Archive, terms: Terms, *, skip_bad: bool, check_images: bool
) -> Reading:
    """Check the entries and make records of the good ones.

    Raises:
        DataError: listing all problems, unless `skip_bad`; and in any case when nothing at all could be read.
    """
    checker = _Checker(archive, terms, check_images)
    count = 0
    try:
        for entry in entries:
            count += 1
            checker.add(entry)
    except DataError as error:
        path, _, detail = str(error).partition(": ")
        archive.report("unreadable score file", Path(path), detail)
    if count or not archive.problems:  # a score file that could not be read says enough by itself
        if terms.expected is not None and count != terms.expected:
            archive.report("wrong count", archive.root, f"{count:,} entries, expected {terms.expected:,}")
        elif not count:
            archive.report("wrong count", archive.root, "no entries")
    problems = tuple(archive.problems)
    reading = Reading(terms.dataset, tuple(checker.rated), tuple(checker.pairs), tuple(checker.unrated), problems)
    if problems and not (skip_bad and reading.records):
        raise DataError(describe(terms.dataset, archive.root, problems))
    return reading


class _Checker:
    """The records so far, and what is needed to check the next one."""

    def __init__(self, archive: Archive, terms: Terms, check_images: bool) -> None:
        self.rated: list[Rated] = []
        self.pairs: list[RatedPair] = []
        self.unrated: list[Unrated] = []
        self._archive = archive
        self._terms = terms
        self._check_images = check_images
        self._seen: set[tuple[Path, ...]] = set()
        self._readable: dict[Path, bool] = {}

    def add(self, entry: Entry | PairEntry) -> None:
        """Make a record of an entry, or report all that is wrong with it."""
        before = len(self._archive.problems)
        record: Rated | RatedPair | Unrated | None
        if isinstance(entry, PairEntry):
            record = self._pair(entry)
        elif self._terms.scale is None:
            record = self._plain(entry)
        else:
            record = self._scored(entry, self._terms.scale)
        if record is None or len(self._archive.problems) > before:
            return
        match record:
            case Rated():
                self.rated.append(record)
            case RatedPair():
                self.pairs.append(record)
            case Unrated():
                self.unrated.append(record)

    def _scored(self, entry: Entry, scale: Scale) -> Rated | None:
        image, reference = self._pictures(entry)
        where = self._archive.root / entry.image
        score = self._score(where, entry.score, scale)
        deviation = self._deviation(where, entry.std)
        if image is None or score is None:
            return None
        original, original_std = number(entry.original), number(entry.original_std)
        return Rated(
            image=image,
            mos=scale.mos(score),
            std=scale.std(deviation) if deviation is not None and self._terms.std_is_spread else None,
            original=score if original is None else original,
            original_std=deviation if original_std is None else original_std,
            reference=reference,
            distortion=entry.distortion,
            level=entry.level,
            distribution=self._distribution(where, entry.votes),
            dataset=self._terms.dataset,
            split=entry.split,
            group=self._group(entry.group, entry.image),
        )

    def _plain(self, entry: Entry) -> Unrated | None:
        image, reference = self._pictures(entry)
        if image is None:
            return None
        group = self._group(entry.group, entry.image)
        return Unrated(image, reference, entry.distortion, entry.level, self._terms.dataset, group)

    def _pair(self, entry: PairEntry) -> RatedPair | None:
        first, second = self._picture(entry.first), self._picture(entry.second)
        reference = self._picture(entry.reference, reference=True)
        where = self._archive.root / entry.first
        prefers = self._score(where, entry.prefers_first, Scale(0, 1))
        if first is None or second is None or reference is None or prefers is None:
            return None
        self._once(first, second, reference)
        group = self._group(entry.group, entry.reference)
        return RatedPair(first, second, reference, prefers, self._terms.dataset, entry.split, group)

    def _pictures(self, entry: Entry) -> tuple[Path | None, Path | None]:
        """The picture, seen for the first time, and its reference."""
        image = self._picture(entry.image)
        reference = None if entry.reference is None else self._picture(entry.reference, reference=True)
        if image is not None:
            self._once(image)
        return image, reference

    def _picture(self, relative: str, *, reference: bool = False) -> Path | None:
        what = "reference" if reference else "image"
        if not relative:
            self._archive.report("missing image", self._archive.root, f"an entry names no {what}")
            return None
        path = self._archive.find(relative)
        if path is None or not path.is_file():
            missing = self._archive.root / relative
            self._archive.report("missing reference" if reference else "missing image", missing, f"{what} not found")
            return None
        if self._check_images and path not in self._readable:
            self._readable[path] = self._decodes(path)
        return path if self._readable.get(path, True) else None

    def _decodes(self, path: Path) -> bool:
        try:
            load_image(path)
        except ImageError as error:
            self._archive.report("unreadable image", path, str(error).removeprefix(f"{path}: "))
            return False
        return True

    def _once(self, *paths: Path) -> None:
        if paths in self._seen:
            self._archive.report("duplicate", paths[0], "named more than once")
        self._seen.add(paths)

    def _score(self, where: Path, value: object, scale: Scale) -> float | None:
        score = number(value)
        if score is None:
            self._archive.report("unreadable score", where, f"the score {value!r} is not a number")
        elif not scale.holds(score):
            self._archive.report("score outside the scale", where, f"the score {score:g} is outside {scale}")
        else:
            return score
        return None

    def _deviation(self, where: Path, value: object) -> float | None:
        if value is None or value == "":
            return None
        deviation = number(value)
        if deviation is None or deviation < 0:
            self._archive.report("unreadable score", where, f"the standard deviation {value!r} is not a number >= 0")
            return None
        return deviation

    def _distribution(self, where: Path, votes: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if votes is None:
            return None
        total = sum(votes)
        if not total > 0 or min(votes) < 0:
            self._archive.report("unreadable score", where, f"the votes {votes} are no distribution")
            return None
        return tuple(vote / total for vote in votes)

    def _group(self, group: str | None, fallback: str) -> str:
        return f"{self._terms.family}/{fallback if group is None else group}"
