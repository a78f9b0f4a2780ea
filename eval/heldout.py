"""Measure a model on held-out pictures: predict once into a file, then compute every figure from that file alone."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mllm_iqa.agreement import Figure, bootstrap, plcc, srcc
from mllm_iqa.assistant import Assistant
from mllm_iqa.checkpoints import Card, IntervalCard, read_card, sha256_of, write_card
from mllm_iqa.errors import DataError
from mllm_iqa.images import load_image
from mllm_iqa.taxonomy import FAMILIES

from .metrics.consistency import inconsistent

COVERAGE = 0.9


def synthetic_items(path: Path) -> list[dict[str, Any]]:
    """Rows of a test set written by `mllm-iqa data heldout`, pixels decoded."""
    if not path.is_file():
        raise DataError(f"{path}: not found; `mllm-iqa data heldout` writes it")
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    for row in rows:
        row["pixels"] = np.frombuffer(row["pixels"], np.uint8).reshape(row["height"], row["width"], 3)
    return rows


def photo_items(table: Path) -> list[dict[str, Any]]:
    """Validation photographs of a bank's table with their human MOS."""
    if not table.is_file():
        raise DataError(f"{table}: not found; `mllm-iqa data bank` writes it")
    return [row for row in pq.read_table(table).to_pylist() if row["split"] == "val"]


def predict(assistant: Assistant, synthetic: Path, photos: Path, out: Path) -> Iterator[int]:
    """Score everything into a JSON-lines file, going on after the rows that are already there; yields rows done.

    Raises:
        DataError: the rows that are already there come from another model, from other weights (where a card names
            them), or from another test set.
    """
    jobs: list[tuple[str, dict[str, Any]]] = [("synthetic", row) for row in synthetic_items(synthetic)]
    jobs += [("photo", row) for row in photo_items(photos)]
    card = assistant.card
    made_with = {
        "model": assistant.backend.name,
        "weights": "" if card is None else " ".join(card.sha256.values()),
        "test set": f"{sha256_of(synthetic)} {sha256_of(photos)}",
    }
    done = _rows_done(out, made_with)
    with out.open("a", encoding="utf-8") as f:
        for batch in _batched(jobs[done:], 8):
            sources = [row["pixels"] if what == "synthetic" else row["path"] for what, row in batch]
            for (what, row), result in zip(batch, assistant.score_many(sources), strict=True):
                known = {k: v for k, v in row.items() if k != "pixels"}
                f.write(json.dumps({"set": what, **known, "result": result.to_dict(), "made_with": made_with}) + "\n")
            f.flush()
            done += len(batch)
            yield done


def _rows_done(out: Path, made_with: dict[str, str]) -> int:
    """How many rows a predictions file holds; a row that was cut off in the middle of writing is removed."""
    if not out.exists():
        return 0
    written = out.read_bytes()
    whole = written[: written.rfind(b"\n") + 1]
    if len(whole) < len(written):
        out.write_bytes(whole)
    rows = [json.loads(line) for line in whole.splitlines()]
    for row in rows:
        for what, mine in made_with.items():
            theirs = row.get("made_with", {}).get(what)
            if theirs != mine:
                raise DataError(f"{out}: made with {what} {theirs}, not {mine}; name another folder")
    return len(rows)


def _batched(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def figures(predictions: Path) -> dict[str, Any]:
    """All figures of a predictions file, by name."""
    rows = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
    good = [r for r in rows if _scored(r)]
    return {
        **_synthetic_figures([r for r in rows if r["set"] == "synthetic"]),
        **_photo_figures([r for r in rows if r["set"] == "photo"]),
        "explanations consistent": _share(
            [not inconsistent(r["result"]) for r in good], [_group(r) for r in good], len(rows)
        ),
    }


def _scored(row: dict[str, Any]) -> bool:
    return "mos" in row["result"]


def _group(row: dict[str, Any]) -> str:
    return str(row.get("source") or row["path"])


def _share(hits: list[bool], groups: list[str], total: int) -> Figure:
    values = np.array(hits, dtype=float)
    return bootstrap(lambda i: float(values[i].mean()), groups, total=total)


def _main(row: dict[str, Any]) -> dict[str, Any] | None:
    found = row["result"]["distortions"]
    return found[0] if found else None


def _mean(values: Sequence[float]) -> float:
    """Arithmetic mean; NaN of nothing."""
    return float(np.mean(values)) if len(values) else float("nan")


def _synthetic_figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    damaged = [r for r in rows if _scored(r) and r["severity"] > 0]
    clean = [r for r in rows if _scored(r) and r["severity"] == 0]
    total_clean = sum(r["severity"] == 0 for r in rows)
    total = len(rows) - total_clean
    groups = [r["source"] for r in damaged]
    family = [(_main(r) or {"family": "none"})["family"] == r["family"] for r in damaged]
    any_hit = [r["family"] in [f["family"] for f in r["result"]["distortions"]] for r in damaged]
    # Severity is judged where the model named the family at all; a miss would not say what it rates.
    near, exact, severity_groups = [], [], []
    for r, hit in zip(damaged, any_hit, strict=True):
        if hit:
            said = next(f["severity"] for f in r["result"]["distortions"] if f["family"] == r["family"])
            near.append(abs(said - r["severity"]) <= 1)
            exact.append(said == r["severity"])
            severity_groups.append(r["source"])
    ladders: dict[str, list[float]] = {f: [] for f in FAMILIES}
    pairs, pair_groups = [], []
    by_ladder: dict[tuple[str, str, str], dict[int, float]] = {}
    for r in damaged:
        by_ladder.setdefault((r["family"], r["source"], r["distortion"]), {})[r["severity"]] = r["result"]["mos"]
    for (name, source, _), mos in by_ladder.items():
        if len(mos) == 5:
            ladders[name].append(-srcc(np.array([mos[s] for s in range(1, 6)]), np.arange(1, 6)))
        for s in range(1, 4):
            if s in mos and s + 2 in mos:
                pairs.append(mos[s] > mos[s + 2])
                pair_groups.append(source)
    other, other_groups = _pairs_of_different_pictures(damaged)
    alarms = [any(f["severity"] >= 2 for f in r["result"]["distortions"] or ()) for r in clean]
    per_family = {
        name: round(_mean([h for h, r in zip(family, damaged, strict=True) if r["family"] == name]), 3)
        for name in FAMILIES
    }
    within = {
        name: round(
            -srcc(
                np.array([r["result"]["mos"] for r in damaged if r["family"] == name]),
                np.array([r["severity"] for r in damaged if r["family"] == name]),
            ),
            3,
        )
        for name in FAMILIES
    }
    return {
        "family top-1": _share(family, groups, total),
        "family among findings": _share(any_hit, groups, total),
        "severity within one": _share(near, severity_groups, total),
        "severity exact": _share(exact, severity_groups, total),
        "pairs two severities apart": _share(pairs, pair_groups, len(pairs)),
        "pairs of different pictures two severities apart": _share(other, other_groups, len(other)),
        "ladder SRCC, mean over families": round(_mean([_mean(v) for v in ladders.values() if v]), 3),
        "SRCC of mos and severity within a family, mean": round(_mean(list(within.values())), 3),
        "clean called clean": _share([_main(r) is None for r in clean], [r["source"] for r in clean], total_clean),
        "clean with a finding of severity 2 or more": _share(alarms, [r["source"] for r in clean], total_clean),
        "family top-1 by family": per_family,
        "SRCC of mos and severity by family": within,
    }


def _pairs_of_different_pictures(damaged: list[dict[str, Any]]) -> tuple[list[bool], list[str]]:
    """Whether the milder of two pictures has the higher score: one distortion, two sources, two severities apart.

    Every such pair, and the source of its milder picture.
    """
    alike: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in damaged:
        alike.setdefault((row["distortion"], row["severity"]), []).append(row)
    hits, groups = [], []
    for (name, severity), milder in alike.items():
        for a, b in itertools.product(milder, alike.get((name, severity + 2), ())):
            if a["source"] != b["source"]:
                hits.append(a["result"]["mos"] > b["result"]["mos"])
                groups.append(a["source"])
    return hits, groups


def _photo_figures(photos: list[dict[str, Any]]) -> dict[str, Any]:
    rows, total = [r for r in photos if _scored(r)], len(photos)
    mos = np.array([r["result"]["mos"] for r in rows])
    truth = np.array([r["mos"] for r in rows])
    groups = [r["path"] for r in rows]
    out: dict[str, Any] = {
        "photographs SRCC": bootstrap(lambda i: srcc(mos[i], truth[i]), groups, total=total),
        "photographs PLCC": bootstrap(lambda i: plcc(mos[i], truth[i]), groups, total=total),
        "photographs RMSE": round(float(np.sqrt(_mean((mos - truth) ** 2))), 3),
    }
    subsets = sorted({r["subset"] for r in rows})
    out["photographs SRCC by subset"] = {
        s: round(srcc(mos[[r["subset"] == s for r in rows]], truth[[r["subset"] == s for r in rows]]), 3)
        for s in subsets
    }
    covered = [
        r["result"]["interval"]["low"] <= t <= r["result"]["interval"]["high"] for r, t in zip(rows, truth, strict=True)
    ]
    out["interval coverage"] = _share(covered, groups, total)
    return out


def interval_multiplier(rows: list[dict[str, Any]]) -> tuple[float, float, int]:
    """Split-conformal multiplier of std on one half of the photographs, and its coverage on the other half.

    Args:
        rows: photo rows of a predictions file.

    Returns:
        (multiplier, coverage on the other half, size of the calibration half).

    Raises:
        DataError: fewer than two rows.
    """
    if len(rows) < 2:
        raise DataError(f"an interval needs at least two scored photographs, got {len(rows)}")
    order = np.random.default_rng(0).permutation(len(rows))
    ratio = np.array([abs(r["result"]["mos"] - r["mos"]) / r["result"]["std"] for r in rows])[order]
    half = len(ratio) // 2
    rank = min(half, int(np.ceil((half + 1) * COVERAGE)))
    multiplier = float(np.sort(ratio[:half])[rank - 1])
    return multiplier, float((ratio[half:] <= multiplier).mean()), half


def record(folder: Path, predictions: Path, values: dict[str, Any], date: str) -> Card:
    """Write figures and the interval's calibration into the card of a checkpoint; returns the new card.

    The multiplier comes from one half of the validation photographs; the card says how often the other half was
    covered.

    Raises:
        DataError: the folder has no card.
    """
    card = read_card(folder)
    if card is None:
        raise DataError(f"{folder}: no card.json to write the figures into")
    rows = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
    photos = [r for r in rows if r["set"] == "photo" and "mos" in r["result"]]
    multiplier, covered, half = interval_multiplier(photos)
    source = f"{half} held-out BIQ2021 photographs; covers {covered:.3f} of {len(photos) - half} others"
    interval = IntervalCard(coverage=COVERAGE, multiplier=round(multiplier, 3), calibrated_on=source)
    kept = {k: v for k, v in printable(values).items() if k != "interval coverage"}
    results = {"command": "mllm-iqa eval heldout", "date": date, **kept}
    new = card.model_copy(update={"results": results, "interval": interval})
    write_card(folder, new)
    return new


def compare_figures(assistant: Assistant, synthetic: Path, *, pairs: int = 120, seed: int = 0) -> dict[str, Any]:
    """Accuracy of the comparison prompt: same picture two severities apart, and different pictures of one family.

    "About equal" counts as wrong in the accuracy; its share stands beside it.
    """
    rows = [r for r in synthetic_items(synthetic) if r["severity"] > 0]
    rng = np.random.default_rng(seed)
    same = [
        (a, b)
        for a, b in itertools.combinations(rows, 2)
        if (a["source"], a["distortion"]) == (b["source"], b["distortion"]) and b["severity"] - a["severity"] == 2
    ]
    other = [
        (a, b)
        for a, b in itertools.combinations(rows, 2)
        if a["source"] != b["source"] and a["distortion"] == b["distortion"] and b["severity"] - a["severity"] == 2
    ]
    out: dict[str, Any] = {}
    for name, pool in (("same picture", same), ("different pictures", other)):
        chosen = [pool[i] for i in rng.permutation(len(pool))[:pairs]]
        results = [
            assistant.compare(load_image(a["pixels"]), load_image(b["pixels"]), explain=False) for a, b in chosen
        ]
        groups = [a["source"] for a, _ in chosen]
        right = [result.winner == "a" for result in results]
        ties = [result.winner == "tie" for result in results]
        flips = [result.order_flip for result in results]
        out[f"comparison, {name} two severities apart"] = _share(right, groups, len(chosen))
        out[f"about equal, {name}"] = _share(ties, groups, len(chosen))
        out[f"order flips, {name}"] = _share(flips, groups, len(chosen))
    return out


def printable(values: dict[str, Any]) -> dict[str, Any]:
    """Figures as plain JSON values; what is undefined (NaN) is None."""
    return {k: _plain(v) for k, v in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Figure):
        return printable(value.to_dict())
    if isinstance(value, dict):
        return printable(value)
    return None if isinstance(value, float) and np.isnan(value) else value
