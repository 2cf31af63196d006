"""Reading pictures: every honest kind comes out upright RGB, everything else is one clear error."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from askmask.errors import PictureError
from askmask.imaging.files import _TURN, list_pictures, read_header, read_picture
from askmask.imaging.mask import Mask

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


def test_the_frames_of_a_tiff_are_not_counted(tmp_path):
    """Counting them takes the square of their number: minutes for a file of some megabytes."""
    import time

    tags = [(256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
            (278, 3, 1, 4), (279, 4, 1, 16)]  # fmt: skip
    frame = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    size, count = len(frame) + 4, 30_000
    frames = b"".join(
        frame + struct.pack("<I", 24 + size * (n + 1) if n + 1 < count else 0) for n in range(count)
    )
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 24) + bytes(16) + frames)
    began = time.process_time()
    with pytest.raises(PictureError, match="TIFF with several frames"):
        read_picture(tmp_path / "a.tif")
    assert time.process_time() - began < 10


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
        (animated(), "several frames"),
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


# -- what other programs write ------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_header_tells_the_size_that_reading_gives(tmp_path, format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a"
    path.write_bytes(encoded(Image.fromarray(RGB), format, exif=exif))
    picture, header = read_picture(path), read_header(path)
    assert header.size == picture.size == ((9, 6) if orientation == 6 else (6, 9))
    assert header.stored == (6, 9) and header.orientation == picture.orientation == orientation
    assert picture.as_stored().shape == (6, 9, 3)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
def test_nonsense_in_exif_does_not_damage_a_picture(tmp_path, format):
    path = tmp_path / "a"
    path.write_bytes(encoded(Image.fromarray(RGB), format, exif=b"Exif\0\0not a tiff header"))
    assert read_picture(path).size == read_header(path).size == (6, 9)


def test_much_text_or_a_large_profile_does_not_damage_a_png(tmp_path):
    text = PngInfo()
    text.add_text("workflow", "{}" * 1_000_000, zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    for more in ({"pnginfo": text, "exif": exif}, {"icc_profile": bytes(2_000_000), "exif": exif}):
        (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(RGB), "PNG", **more))
        picture = read_picture(tmp_path / "a.png")
        assert picture.size == read_header(tmp_path / "a.png").size == (9, 6)
        assert (picture.as_stored() == RGB).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_greys_of_more_than_eight_bits_keep_their_range(bits):
    values = np.linspace(0, 2**bits - 1, 54).astype(np.uint16).reshape(6, 9)
    for image in (Image.fromarray(values), Image.fromarray(values.astype(np.int32))):
        rgb = read_picture(encoded(image, "TIFF")).rgb
        assert rgb.min() == 0 and rgb.max() == 255 and (rgb[..., 0] == values >> (bits - 8)).all()
    wide = Image.fromarray(np.array([[0, 1 << 19, (1 << 20) - 1]], np.int32))
    assert read_picture(encoded(wide, "TIFF")).rgb[0, :, 0].tolist() == [0, 128, 255]


def test_heic_is_named_for_what_it_is(tmp_path):
    (tmp_path / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert list_pictures(tmp_path) == [tmp_path / "a.HEIC"]
    with pytest.raises(PictureError, match=r"HEIC cannot be read\. Save it as JPEG"):
        read_picture(tmp_path / "a.HEIC")


def test_what_cannot_be_read_is_listed_so_that_it_is_missed(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.jfif", "JPEG")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = list_pictures(tmp_path)
    assert [path.name for path in found] == ["a.jfif", "gone.png", "loop.png", "pipe.png"]
    for path in found[1:]:
        for read in (read_picture, read_header):
            with pytest.raises(PictureError, match=path.name):
                read(path)


def test_a_folder_that_may_not_be_entered_is_listed(tmp_path, monkeypatch):
    """Tests may run as a user who may enter everything, so the system's refusal is imitated."""

    def walk(folder, onerror):
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "closed")))
        return iter([(str(tmp_path), ["closed"], ["b.png"])])

    monkeypatch.setattr(os, "walk", walk)
    assert list_pictures(tmp_path) == [tmp_path / "b.png", tmp_path / "closed"]


@pytest.mark.parametrize(
    "path", ["/dev/zero", "a\0b.png", "\ud800.png", "http:/example.com/a.png", "x" * 5000]
)
def test_paths_that_are_no_files_are_refused_at_once(path):
    for read in (read_picture, read_header, Mask.from_png):
        with pytest.raises(PictureError):
            read(path)


def test_a_strip_of_seven_million_pixels_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png_claiming(1, 7_000_000))
    for read in (read_picture, read_header, Mask.from_png):
        with pytest.raises(PictureError, match="a side of more than 65535"):
            read(tmp_path / "a.png")


# -- masks --------------------------------------------------------------------------------------------------

SHAPE = np.zeros((20, 30), bool)
SHAPE[5:12, 8:20] = True


def mask_files():
    """Every form in which a mask is drawn: (name, image)."""
    value = SHAPE.astype(np.uint8)
    yield "one", Image.fromarray(value)
    yield "white", Image.fromarray(value * 255)
    yield "bilevel", Image.fromarray(SHAPE)
    yield "sixteen bits", Image.fromarray(value.astype(np.uint16))
    yield "dark red", Image.fromarray(np.stack([value, value * 0, value * 0], -1))
    yield "dark blue", Image.fromarray(np.stack([value * 0, value * 0, value * 4], -1))
    for name, colours in (
        ("black palette", [0, 0, 0, 0, 0, 0]),
        ("VOC palette", [0, 0, 0, 128, 0, 0]),
        ("white first", None),
    ):
        image = Image.fromarray(value if colours else 1 - value).convert("P")
        image.putpalette(colours or [255, 255, 255, 0, 0, 0])
        yield name, image
    opaque = value * 255
    for name, inside, outside in (
        ("black cut-out", 0, 255),
        ("white cut-out", 255, 0),
        ("all white", 255, 255),
    ):
        grey = np.where(SHAPE, inside, outside).astype(np.uint8)
        yield name, Image.fromarray(np.stack([grey, grey, grey, opaque], -1))
    grey = value * 255
    yield "opaque alpha", Image.fromarray(np.stack([grey, grey, grey, grey * 0 + 255], -1))


@pytest.mark.parametrize("name", [name for name, _ in mask_files()])
def test_every_pixel_that_is_not_black_is_mask(name):
    image = dict(mask_files())[name]
    assert (Mask.from_png(encoded(image, "PNG")).to_array() == SHAPE).all()


def test_masks_of_lossy_formats_are_cut_at_half_and_it_is_said():
    told = []
    image = Image.fromarray((SHAPE * 255).astype(np.uint8))
    for format in ("JPEG", "WEBP"):
        mask = Mask.from_png(encoded(image, format, quality=75), told.append)
        assert (mask.to_array() == SHAPE).all()
    assert len(told) == 2 and "lossy" in told[0]
    assert Mask.from_png(encoded(image, "WEBP", lossless=True), pytest.fail).area == SHAPE.sum()
    with pytest.raises(PictureError, match="must be black and white; got values up to 1"):
        Mask.from_png(encoded(Image.fromarray(SHAPE.astype(np.uint8)), "JPEG", quality=100))


def test_doubtful_masks_are_told_or_refused():
    three = np.zeros((4, 4, 4), np.uint8)
    three[:2, :, 3], three[:1, :, 0] = 255, 255
    told = []
    assert (
        Mask.from_png(encoded(Image.fromarray(three), "PNG"), told.append).area == 8
        and "transparent" in told[0]
    )
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 0, 0, 0, 255, 255, 255])
    with pytest.raises(PictureError, match="which of the palette's blacks"):
        Mask.from_png(encoded(image, "PNG"))


def test_a_turned_mask_is_upright_as_its_picture_is():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert Mask.from_png(encoded(Image.fromarray(SHAPE), "PNG", exif=exif)).size == (30, 20)


def test_no_program_is_started_for_postscript(monkeypatch):
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was started"))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 12\n%%EndComments\nshowpage\n%%EOF\n"
    for read in (read_picture, Mask.from_png):
        with pytest.raises(PictureError, match="not a picture that can be read"):
            read(eps)
