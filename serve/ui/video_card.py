"""A video's quality as a card: one number, the plot of quality over time with the worst moments, what to know."""

from __future__ import annotations

import base64

from mllm_iqa.video_plot import svg_of
from mllm_iqa.video_pooling import POOLINGS
from mllm_iqa.video_types import VideoScore

from .charts import mos_scale
from .markup import escaped
from .strings import Strings, level_name


def video_card(result: VideoScore, strings: Strings) -> str:
    """The card; the plot is a picture in it, so that nothing of it can run."""
    plot = base64.b64encode(svg_of(result).encode()).decode()
    others = ", ".join(f"{kind} {value:.2f}" for kind, value in result.pooled.items() if kind != result.pooling)
    pooled = strings.video_pooled.format(
        pooling=POOLINGS[result.pooling].partition(",")[0], count=result.n_scored, others=others
    )
    notes = [*result.video.notes]
    if result.ended_early is not None:
        notes.insert(0, strings.video_ended.format(reason=result.ended_early))
    warnings = "".join(f'<p class="iqa-warning">{escaped(note)}</p>' for note in notes)
    video = result.video
    judged = f"{video.width}x{video.height} · {video.codec} · {strings.model} {result.model}"
    return (
        f'<section class="iqa-card iqa-video"><h3>{escaped(video.name)}</h3>'
        f'<p class="iqa-mos iqa-{result.level}"><strong>{result.mos:.2f}</strong> <span>{strings.of_five}</span>'
        f'<em class="iqa-level">{escaped(level_name(result.level, strings.code))}</em></p>'
        f'<p class="iqa-note">{escaped(pooled)}</p>{mos_scale(result.mos, None, strings)}{warnings}'
        f'<img class="iqa-plot" src="data:image/svg+xml;base64,{plot}" alt="{escaped(str(result))}">'
        f'<footer class="iqa-note">{escaped(judged)}</footer></section>'
    )
