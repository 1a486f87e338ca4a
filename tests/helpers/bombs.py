"""Small files that become large."""

import io
import struct
import zlib
from fractions import Fraction

import av
from PIL import Image


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


def film(frames, width=200, height=40, codec="mpeg4"):
    """A film in memory, ten frames a second."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame(width, height, "rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def chunk(kind, content):
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(size):
    """A grey picture of many pixels in few bytes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0))
    pixels = zlib.compressobj()
    data = b"".join(pixels.compress(bytes(size + 1)) for _ in range(size)) + pixels.flush()
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def gif(size, *, screen=None, frames=1):
    file = io.BytesIO()
    Image.new("P", (size, size)).save(file, "GIF")
    whole = file.getvalue()
    start, end = whole.index(b"\x2c"), whole.rindex(b"\x3b")
    head = whole[:6] + struct.pack("<HH", *[screen or size] * 2) + whole[10:start]
    return head + (b"\x21\xf9\x04\x00\x0a\x00\x00\x00" + whole[start:end]) * frames + b"\x3b"


def webp(kind):
    def riff(*parts):
        body = b"WEBP" + b"".join(name + struct.pack("<I", len(one)) + one for name, one in parts)
        return b"RIFF" + struct.pack("<I", len(body)) + body

    most = 16_383
    if kind == "picture":
        return riff((b"VP8L", b"\x2f" + struct.pack("<I", most | most << 14) + bytes(201)))
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "WEBP", lossless=True)
    side = struct.pack("<I", most)[:3]
    small = struct.pack("<I", 15)[:3]
    frame = bytes(6) + 2 * small + struct.pack("<I", 100)[:3] + b"\0" + file.getvalue()[12:]
    return riff((b"VP8X", b"\2\0\0\0" + 2 * side), (b"ANIM", bytes(6)), (b"ANMF", frame))


def growing():
    """A film whose frames are larger than it says, by and by."""
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as container:
        stream = container.add_stream("png", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "gray"
        for number, data in enumerate([png(64)] * 40 + [png(12_000)] * 3):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 5)
            container.mux(packet)
    return file.getvalue()


BOMBS = {
    "picture.png": lambda: png(16_000),
    "picture.mp4": lambda: png(16_000),
    "screen.gif": lambda: gif(16, screen=65_535),
    "frames.gif": lambda: gif(16, frames=200_000),
    "frames.mkv": lambda: film(40_000, 16, 16, codec="rawvideo"),
    "picture.webp": lambda: webp("picture"),
    "canvas.webp": lambda: webp("canvas"),
    "canvas.mov": lambda: webp("canvas"),
    "growing.mov": growing,
}
