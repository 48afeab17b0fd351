"""Members of a zip archive, zstd-compressed ones (method 93) too, which zipfile lists but may not read."""

from __future__ import annotations

import struct
import zipfile

from .source import MAX_ROW_BYTES, BadRow

_ZSTD = 93
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The member's bytes. Raises BadRow when it is too long, damaged, encrypted or packed in another way."""
    if member.file_size > MAX_ROW_BYTES:
        raise BadRow(f"the archive member is longer than {MAX_ROW_BYTES // 2**20} MiB")
    try:
        if member.compress_type == _ZSTD:
            return _read_zstd(archive, member)
        with archive.open(member) as stream:
            data = stream.read(MAX_ROW_BYTES + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        raise BadRow("the archive member is damaged or packed in an unknown way") from None
    if len(data) > MAX_ROW_BYTES:
        raise BadRow(f"the archive member is longer than {MAX_ROW_BYTES // 2**20} MiB")
    return data


def _read_zstd(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    import zstandard

    stream = archive.fp
    if stream is None:
        raise BadRow("the archive is closed")
    stream.seek(member.header_offset)
    header = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    if header[0] != b"PK\x03\x04":
        raise BadRow("the archive member is damaged")
    stream.seek(header[9] + header[10], 1)  # its name and extra field
    packed = stream.read(member.compress_size)
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
            data: bytes = reader.read(MAX_ROW_BYTES + 1)
    except zstandard.ZstdError:
        raise BadRow("the archive member is damaged") from None
    if len(data) != member.file_size:
        raise BadRow("the archive member is damaged or cut off")
    return data
