"""A picture as a session holds it: the bytes that were uploaded, and small previews for the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field

from PIL import Image

from mllm_iqa.errors import ImageError
from mllm_iqa.images import Picture, load_image

THUMB_SIDE = 224
VIEW_SIDE = 960
EXPORT_SIDE = 480


@dataclass(frozen=True, slots=True)
class Held:
    """One picture of a session.

    Attributes:
        number: 1, 2, 3 ... as the page counts them; never given twice in a session.
        name: the file's own name, shown only escaped and never used as a path.
        data: the file's bytes, so that every model reads the picture itself and not a reduced copy.
        width, height: in pixels, upright.
        thumb: data URI of a preview, THUMB_SIDE at most.
        chosen: whether the buttons work on it.
    """

    number: int
    name: str
    data: bytes = field(repr=False)
    width: int
    height: int
    thumb: str = field(repr=False)
    chosen: bool = True

    @property
    def size(self) -> str:
        """Width x height."""
        return f"{self.width}x{self.height}"

    def picture(self) -> Picture:
        """The picture itself, decoded."""
        return load_image(self.data, name=self.name)

    def preview(self, side: int, *, quality: int = 90) -> str:
        """A JPEG data URI no larger than `side` on either side."""
        return jpeg_uri(self.picture(), side, quality=quality)


class TooManyPixelsError(ImageError):
    """A picture larger than the page accepts."""


def hold(data: bytes, *, number: int, name: str, max_pixels: int) -> Held:
    """Check that `data` is a picture the models can judge, and make its preview.

    Raises:
        TooManyPixelsError: more than `max_pixels`; found before decoding.
        ImageError: whatever else `load_image` refuses.
    """
    _check_pixels(data, max_pixels)
    picture = load_image(data, name=name)
    return Held(
        number=number,
        name=picture.info.name,
        data=data,
        width=picture.info.width,
        height=picture.info.height,
        thumb=jpeg_uri(picture, THUMB_SIDE, quality=80),
    )


def _check_pixels(data: bytes, limit: int) -> None:
    """Read the header alone; what cannot be read is left for `load_image` to refuse in its own words."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixelsError(f"more than {Image.MAX_IMAGE_PIXELS}") from error
    except Exception:  # Pillow raises nearly anything on broken files
        return
    if width * height > limit:
        raise TooManyPixelsError(f"{width}x{height}")


def jpeg_uri(picture: Picture, side: int, *, quality: int) -> str:
    """A picture as a JPEG data URI, reduced to `side` where it is larger."""
    image = Image.fromarray(picture.pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
