"""Read an upload, a multipart/form-data body with one file, without holding the file in memory."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping
from typing import IO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from api.json_body import run
from errors import BodyTooLargeError, InvalidRequestError, UnsupportedEncodingError

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # its warnings quote the body

_MAX_PARTS = 20
_MAX_FIELD_BYTES = 1024
_OVERHEAD_BYTES = 65_536
"""Room in a body for all that is not the file's content."""
_SMALL_PART = 4096


class Upload:
    """The form of an upload: its fields, and the name of its file, whose content goes to `target`."""

    def __init__(self, content_type: str, target: IO[bytes]) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise InvalidRequestError("Send the file as multipart/form-data with the fields purpose and file.")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        """None until the file has begun."""
        self.complete = False
        self._target = target
        self._headers: dict[bytes, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._parts = 0
        self._field: str | None = None
        """The field whose value is being read; None in the file and in parts that are ignored."""
        self._in_file = False
        self._parser = _parser(self, options[b"boundary"])

    def write(self, data: bytes) -> None:
        """Read the next bytes of the body; InvalidRequestError if they are not valid, OSError of the target."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise InvalidRequestError("The body is not valid multipart/form-data.") from None

    def on_part_begin(self) -> None:
        """A part begins."""
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise InvalidRequestError(f"The form has more than {_MAX_PARTS} fields.")
        self._headers = {}
        self._field, self._in_file = None, False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """A piece of a header's name."""
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """A piece of a header's value."""
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        """A header is complete."""
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def on_headers_finished(self) -> None:
        """The content of a part begins."""
        _, options = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name != "file":
            self._field = name
            self.fields[name] = ""
        elif self.filename is None:
            self._in_file = True
            self.filename = _base_name(options.get(b"filename", b"").decode("utf-8", "replace"))
        else:
            raise InvalidRequestError("Send one file at a time.", param="file")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """A piece of a part's content."""
        if self._in_file:
            self._target.write(data[start:end])
        elif self._field is not None:
            value = self.fields[self._field] + data[start:end].decode("utf-8", "replace")
            if len(value) > _MAX_FIELD_BYTES:
                raise InvalidRequestError(f"A field of the form exceeds {_MAX_FIELD_BYTES} bytes.")
            self.fields[self._field] = value

    def on_end(self) -> None:
        """The form is complete."""
        self.complete = True


def _parser(upload: Upload, boundary: bytes) -> MultipartParser:
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": upload.on_part_begin,
                "on_header_field": upload.on_header_field,
                "on_header_value": upload.on_header_value,
                "on_header_end": upload.on_header_end,
                "on_headers_finished": upload.on_headers_finished,
                "on_part_data": upload.on_part_data,
                "on_end": upload.on_end,
            },
        )
    except FormParserError:
        raise InvalidRequestError("The boundary of the multipart/form-data body is too long.") from None


def _base_name(filename: str) -> str:
    """A file's name without folders; it is never used as a path."""
    return re.split(r"[/\\]", filename)[-1]


async def read_upload(
    parts: AsyncIterator[bytes], headers: Mapping[str, str], target: IO[bytes], max_bytes: int
) -> Upload:
    """Read a body whose file may have up to `max_bytes`.

    BodyTooLargeError as soon as it has more; InvalidRequestError, UnsupportedEncodingError; OSError of the target.
    """
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedEncodingError("Files with a Content-Encoding are not supported. Send the file uncompressed.")
    upload = Upload(headers.get("content-type", ""), target)
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes + _OVERHEAD_BYTES:
        raise _too_large(max_bytes)
    received = 0
    async for part in parts:
        received += len(part)
        if received > max_bytes + _OVERHEAD_BYTES:
            raise _too_large(max_bytes)
        await run(upload.write, part, in_thread=len(part) >= _SMALL_PART)
    if not upload.complete or upload.filename is None:
        raise InvalidRequestError(
            "The body has no complete field file. Send the file as multipart/form-data.", param="file"
        )
    if target.tell() > max_bytes:
        raise _too_large(max_bytes)
    return upload


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"The file exceeds {max_bytes} bytes (BATCH_MAX_FILE_BYTES). Split it.", param="file")
