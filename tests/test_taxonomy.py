from mllm_iqa.taxonomy import (
    FAMILIES,
    FAMILY_OF,
    FURTHER_KINDS,
    FURTHER_KINDS_BY_FAMILY,
    KINDS,
    KINDS_BY_FAMILY,
)

ALL_KINDS = (*KINDS, *FURTHER_KINDS)


def test_the_twelve_families_and_their_kinds() -> None:
    # blur 6 + noise 6 + compression 2 + one each for the nine other families
    assert len(FAMILIES) == 12
    assert len(KINDS) == 6 + 6 + 2 + 9
    assert {family: len(kinds) for family, kinds in KINDS_BY_FAMILY.items() if len(kinds) > 1} == {
        "blur": 6,
        "noise": 6,
        "compression": 2,
    }


def test_every_kind_has_one_family() -> None:
    assert len(set(ALL_KINDS)) == len(ALL_KINDS)
    assert len(set(FAMILIES)) == len(FAMILIES)
    assert tuple(FAMILY_OF) == ALL_KINDS
    assert all(kind in KINDS_BY_FAMILY[FAMILY_OF[kind]] for kind in KINDS)
    assert all(kind in FURTHER_KINDS_BY_FAMILY[FAMILY_OF[kind]] for kind in FURTHER_KINDS)


def test_no_kind_stands_inside_another() -> None:
    # Findings are read from text by these words: one must not be found where another is meant.
    assert [(a, b) for a in ALL_KINDS for b in ALL_KINDS if a != b and a.lower() in b.lower()] == []
