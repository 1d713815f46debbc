"""Polyglots: bytes that are a picture and something else as well, so that one program shows a photo and another runs or unpacks a file.

The working copy holds nothing but pixels, but the original is kept as it came, and somebody will open it some day. What phones hang behind
their photos (a second view, a film, a depth map) is none of this and stays.
"""

from __future__ import annotations

import re
import struct

PROGRAMS = {
    b"MZ": "a Windows program",
    b"\x7fELF": "a Linux program",
    b"#!": "a script",
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"\x1f\x8b\x08": "a gzip archive",
}
"""How files begin that do something; looked for where the picture ends."""
MARKUP = re.compile(rb"<\s*(?:html|script|svg|iframe|body|!doctype|\?php|\?xml)\b", re.IGNORECASE)
ZIP_END, ZIP_START, ZIP_TAIL = b"PK\x05\x06", b"PK\x03\x04", 65_557
"""A ZIP archive is found by its last record, which stands in its last 22 to 65,557 bytes (APPNOTE 4.3.16)."""
PDF_HEAD = 1024
"""Readers look for ``%PDF-`` in so many first bytes (ISO 32000-1, annex H)."""
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends a JPEG's entropy-coded data (ITU-T T.81, B.1.1.2)."""


def second_file(data: bytes, kind: str) -> str:
    """What else these bytes of a ``kind`` picture are, in words; empty when they are nothing else that we know of."""
    # These two first: their readers find them wherever they begin, inside the picture as well as behind it.
    if ZIP_END in data[-ZIP_TAIL:] and ZIP_START in data:
        return "a ZIP archive"
    if b"%PDF-" in data[:PDF_HEAD]:
        return "a PDF document"
    tail = data[_end(data, kind) :]
    rest = tail.lstrip(b"\0\r\n\t ")
    for magic, words in PROGRAMS.items():
        if rest.startswith(magic):
            return words
    if rest.startswith(b"%PDF-"):
        return "a PDF document"
    return "a web page or program text" if MARKUP.search(rest) and not _is_camera_data(tail) else ""


def _is_camera_data(tail: bytes) -> bool:
    """Whether this is what a camera hangs behind a photo: another JPEG, a film, or a maker's block; XMP in there looks like markup."""
    return tail.startswith((b"\xff\xd8\xff", b"MotionPhoto_Data")) or tail[4:8] == b"ftyp"


def _end(data: bytes, kind: str) -> int:
    """Where the picture's own bytes end; the end of ``data`` for formats that have no such place."""
    if kind == "JPEG":
        return _jpeg_end(data)
    if kind == "PNG":
        # The chunk's name and the four bytes of its checksum end the picture (PNG specification, 5.3).
        end = data.find(b"IEND")
        return len(data) if end < 0 else end + 8
    if kind == "WEBP" and len(data) >= 12:
        # RIFF: the size at offset 4 counts from offset 8.
        return int(8 + struct.unpack_from("<I", data, 4)[0])
    return len(data)


def _jpeg_end(data: bytes) -> int:
    offset = 2
    while offset + 4 <= len(data):
        if data[offset] != 0xFF:
            return len(data)  # damaged; the decoder will say so
        marker = data[offset + 1]
        if marker == 0xD9:
            return offset + 2
        # TEM and RSTn stand alone, without a length; 0xFF may be repeated as fill (ITU-T T.81, B.1.1.2 and B.1.1.3).
        if marker in (0x01, 0xFF) or 0xD0 <= marker <= 0xD7:
            offset += 1 if marker == 0xFF else 2
            continue
        offset += 2 + int(struct.unpack_from(">H", data, offset + 2)[0])
        if marker == 0xDA:
            found = NEXT_MARKER.search(data, offset)
            offset = found.start() if found else len(data)
    return offset + 2 if data[offset : offset + 2] == b"\xff\xd9" else len(data)
