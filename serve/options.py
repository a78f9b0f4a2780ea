"""What a running service is allowed to take in, hold and do."""

from __future__ import annotations

from dataclasses import dataclass, field

from mllm_iqa.calibration import Calibration


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what requests can cost.

    Attributes:
        body_bytes: of one request.
        held_bytes: of all request bodies in memory at once.
        upload_seconds: for the whole body of a request to arrive.
        images: in one request.
        source_pixels: width x height of one uploaded picture, known before it is decoded.
        running: requests worked on at once; their calls of the model share batches.
        queued: requests that wait beyond those; one more is answered 429.
        request_seconds: from the moment a request is accepted to its answer; later ones are answered 504.
        drain_seconds: that a stopping server gives to what it has accepted.
        batch_rows: conversations in one call of the model.
        video_frames: of one video that are looked at; the time between them is widened until they suffice.
    """

    body_bytes: int = 64 * 2**20
    held_bytes: int = 512 * 2**20
    upload_seconds: float = 60.0
    images: int = 32
    source_pixels: int = 50_000_000
    running: int = 16
    queued: int = 64
    request_seconds: float = 120.0
    drain_seconds: float = 120.0
    batch_rows: int = 32
    video_frames: int = 120


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a service behaves.

    Attributes:
        limits: see `Limits`.
        keys: any one of them opens the service; none = open to everyone who can connect.
        cors_origins: web pages of these origins may call the service from a browser; "*" = all.
        allowed_hosts: names under which the service answers (the Host header); none = any.
        url_inputs: whether a picture may be given by its http(s) address.
        ui: whether the chat page is offered at / when it is installed.
        calibrations: to scales of its users, which requests and the page may name.
    """

    limits: Limits = field(default_factory=Limits)
    keys: tuple[str, ...] = field(default=(), repr=False)
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    url_inputs: bool = False
    ui: bool = True
    calibrations: tuple[Calibration, ...] = ()
