"""Reading pictures: every honest kind comes out upright RGB, everything else is one clear error."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from askmask.errors import PictureError
from askmask.imaging.files import _TURN, list_pictures, read_picture

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def test_sources_of_the_same_picture_agree(tmp_path):
    image = Image.fromarray(RGB)
    data = encoded(image, "PNG")
    (tmp_path / "a.png").write_bytes(data)
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), data, image, RGB):
        assert (read_picture(source).rgb == RGB).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does_and_can_be_undone(orientation):
    from PIL import ImageOps

    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = orientation
    data = encoded(image, "PNG", exif=exif)
    picture = read_picture(data)
    assert (picture.rgb == np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))).all()
    assert (picture.as_stored() == RGB).all()
    assert (picture.upright(picture.as_stored()) == picture.rgb).all()
    assert (_TURN[orientation](RGB) == picture.rgb).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "YCbCr"])
def test_odd_modes_become_rgb(mode):
    image = Image.fromarray(RGB).convert(mode)
    format = {"CMYK": "TIFF", "YCbCr": "JPEG"}.get(mode, "PNG")
    picture = read_picture(encoded(image, format))
    assert picture.rgb.shape == (6, 9, 3)
    assert picture.rgb.dtype == np.uint8


def test_sixteen_bit_grey_keeps_its_range():
    values = np.arange(54, dtype=np.uint16).reshape(6, 9) * 1200
    picture = read_picture(encoded(Image.fromarray(values), "PNG"))
    assert (picture.rgb[..., 0] == values >> 8).all()


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    body = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return (
        b"\x89PNG\r\n\x1a\n" + body + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )


def animated() -> bytes:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "empty"),
        (b"hello, I am a text file named .jpg", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (encoded(Image.fromarray(RGB), "PNG")[:60], "damaged"),
        (encoded(Image.fromarray(np.tile(RGB, (40, 40, 1))), "JPEG")[:3000], "damaged"),
        (png_claiming(60000, 60000), "pixels"),
        (png_claiming(12000, 12000), "100000000 pixels"),
        (animated(), "2 frames"),
    ],
)
def test_what_is_no_still_picture_is_one_clear_error(data, said, tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=said) as error:
        read_picture(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "source, said",
    [
        ("nowhere.png", "no such picture"),
        ("https://example.com/a.png", "Download it first"),
        (42, "int"),
        (np.zeros((4, 4), np.float32), "float32"),
        (np.zeros((3, 4, 5), np.uint8), "channels last"),
        (np.zeros((0, 4), np.uint8), "no pixels"),
    ],
)
def test_wrong_sources_are_named(source, said):
    with pytest.raises(PictureError, match=said):
        read_picture(source)


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(PictureError, match="folder"):
        read_picture(tmp_path)


def test_pictures_of_a_folder_are_sorted_and_hidden_ones_left_out(tmp_path):
    for name in ("b.png", "a.JPG", ".hidden/c.png", "sub/d.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in list_pictures(tmp_path)] == [
        "a.JPG",
        "b.png",
        "sub/d.webp",
    ]


def test_a_picture_is_a_copy_of_its_array():
    frame = RGB.copy()
    picture = read_picture(frame)
    frame[:] = 0
    assert (picture.rgb == RGB).all() and picture.rgb.flags.writeable


@pytest.mark.parametrize("image", [Image.new("RGB", (0, 0)), Image.new("La", (4, 4))])
def test_pillow_pictures_that_cannot_be_rgb_are_named(image):
    with pytest.raises(PictureError):
        read_picture(image)
