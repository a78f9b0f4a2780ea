"""What the page says: one field for each string, so that no language can lack one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Strings:
    """The words of one language. A value with {braces} is filled in with `format`."""

    code: str
    other_language: str
    tagline: str
    pictures: str
    drop: str
    drop_hint: str
    pick_hint: str
    remove: str
    uploading: str
    examples: str
    example_pair: str
    example_one: str
    model: str
    model_hint: str
    model_only_listed: str
    nano_english: str
    model_language: str
    score: str
    compare: str
    wrong: str
    rank: str
    ask_placeholder: str
    stop: str
    clear: str
    export: str
    export_json: str
    export_html: str
    empty_title: str
    empty_text: str
    privacy: str
    waiting: str
    loading: str
    looking: str
    reasoning: str
    comparing: str
    ranking: str
    answering: str
    stopped: str
    mos: str
    of_five: str
    interval: str
    levels: str
    outside: str
    outside_hint: str
    outside_high: str
    distortions: str
    none_found: str
    severity: str
    confidence: str
    explanation: str
    judged_by: str
    better: str
    tie: str
    probability: str
    orders_agree: str
    orders_disagree: str
    scores_disagree: str
    a_better: str
    b_better: str
    equal: str
    slider: str
    side_by_side: str
    slider_hint: str
    sizes_differ: str
    preview_note: str
    ranked: str
    strength_hint: str
    rank_flips: str
    no_answer: str
    error: str
    error_picture: str
    error_model: str
    error_other: str
    no_pictures: str
    compare_needs_two: str
    compare_too_many: str
    rank_needs_two: str
    no_question: str
    too_large: str
    too_many: str
    too_many_pixels: str
    upload_lost: str
    unknown_model: str
    failed_inside: str
    nothing_to_export: str
    exported: str
