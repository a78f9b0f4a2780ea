"""The frozen teacher: made-up weights against plain layers, then the real ones where they are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mllm_iqa.train.nano.teacher import FEATURES, MobileNetV1, teacher_features
from torch.nn import functional as F

from mllm_iqa.errors import DataError
from mllm_iqa.images import load_image

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2)  # of the twelve blocks (Howard et al., 2017, table 1)
WIDTH = 4
Table = dict[str, np.ndarray]


def made_up_weights() -> Table:
    """Weights under the names and axes of Keras, every layer four channels wide."""
    rng = np.random.default_rng(0)

    def values(*shape: int, scale: float = 1.0, offset: float = 0.0) -> np.ndarray:
        return (offset + scale * rng.standard_normal(shape)).astype(np.float32)

    table = {"conv1/kernel": values(3, 3, 3, WIDTH, scale=0.4)}
    for i in range(1, 13):
        table[f"conv_dw_{i}/depthwise_kernel"] = values(3, 3, WIDTH, 1, scale=0.4)
        table[f"conv_pw_{i}/kernel"] = values(1, 1, WIDTH, WIDTH, scale=0.6)
    for bn in ("conv1_bn", *(f"conv_{kind}_{i}_bn" for i in range(1, 13) for kind in ("dw", "pw"))):
        table[f"{bn}/gamma"] = values(WIDTH, scale=0.2, offset=1.5)
        table[f"{bn}/beta"] = values(WIDTH, scale=0.3, offset=0.5)
        table[f"{bn}/moving_mean"] = values(WIDTH, scale=0.1)
        table[f"{bn}/moving_variance"] = values(WIDTH, scale=0.05, offset=0.5) ** 2
    return table


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "tiny.npz"
    np.savez(path, **made_up_weights())  # type: ignore[arg-type]
    return path


def keras_forward(table: Table, pixels: np.ndarray) -> np.ndarray:
    """MobileNetV1 layer by layer: TensorFlow's SAME padding from its definition, batch norm not folded."""

    def layer(x: torch.Tensor, kernel: np.ndarray, bn: str, stride: int, groups: int) -> torch.Tensor:
        size = kernel.shape[-1]
        # SAME: ceil(n / stride) outputs, the padding they need split with the larger half at the end.
        pads = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[2:]]
        x = F.pad(x, (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2))
        x = F.conv2d(x, torch.from_numpy(kernel), stride=stride, groups=groups)
        mean, variance, gamma, beta = (
            torch.from_numpy(table[f"{bn}/{name}"]) for name in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return F.relu6(F.batch_norm(x, mean, variance, gamma, beta, eps=1e-3))

    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    x = layer(x, table["conv1/kernel"].transpose(3, 2, 0, 1).copy(), "conv1_bn", 2, 1)
    for i, stride in enumerate(STRIDES, start=1):
        depthwise = table[f"conv_dw_{i}/depthwise_kernel"].transpose(2, 3, 0, 1).copy()
        x = layer(x, depthwise, f"conv_dw_{i}_bn", stride, WIDTH)
        x = layer(x, table[f"conv_pw_{i}/kernel"].transpose(3, 2, 0, 1).copy(), f"conv_pw_{i}_bn", 1, 1)
    return x.mean(dim=(2, 3)).numpy()


def pictures(count: int, size: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return list(rng.integers(0, 256, size=(count, size, size, 3), dtype=np.uint8))


@torch.inference_mode()
def test_the_layers_are_those_of_the_paper(weights: Path) -> None:
    batch = np.stack(pictures(3))
    found = MobileNetV1(weights)(torch.from_numpy(batch)).numpy()
    expected = keras_forward(made_up_weights(), batch)
    assert expected.std() > 0.05  # else a dead network would pass
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_features_are_standardised_over_the_pictures(weights: Path) -> None:
    features = teacher_features(weights, pictures(7), batch_size=3)
    assert features.shape == (7, WIDTH)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(axis=0), 1, atol=1e-2)


def test_the_batch_size_makes_no_difference(weights: Path) -> None:
    together, apart = (teacher_features(weights, pictures(5), batch_size=b) for b in (5, 2))
    np.testing.assert_allclose(together, apart, atol=1e-3)


def test_equal_pictures_give_zeros_and_not_nan(weights: Path) -> None:
    np.testing.assert_allclose(teacher_features(weights, pictures(1) * 4), 0, atol=0.2)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.npz: teacher weights not found"):
        teacher_features(tmp_path / "absent.npz", pictures(1))


@pytest.mark.data
def test_the_real_teacher_tells_photographs_apart(shared_data: Path) -> None:
    path = shared_data / "teacher" / "mobilenet_v1_1.0_224_keras_partial.npz"
    if not path.is_file():
        pytest.skip(f"the teacher's weights are not here ({path.name})")
    photos = [load_image(p).pixels[:256, :256] for p in sorted((shared_data / "bsds500").glob("*.jpg"))[:6]]
    features = teacher_features(path, [*photos, photos[0][:, ::-1].copy()])
    assert features.shape == (7, FEATURES)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-3)
    alive = features.std(axis=0) > 0.5
    assert alive.mean() > 0.95
    np.testing.assert_allclose(features.std(axis=0)[alive], 1, atol=1e-2)
    # A photograph's mirror image is nearer to it than any other photograph.
    away = np.linalg.norm(features[1:] - features[0], axis=1)
    assert away.argmin() == 5
    assert away[5] < 0.7 * away[:5].min()
