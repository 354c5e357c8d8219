"""Flight and Flight SQL messages by hand: a few protobuf fields, and what is sent in them."""

from collections.abc import Iterator

SERVICE = "/arrow.flight.protocol.FlightService/"


def varint(number: int) -> bytes:
    out = bytearray()
    while 0x7F < number:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: bytes | str | int | bool) -> bytes:
    """One field: an integer as a varint, bytes and text with their length before them."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a message that uses varints and lengths only."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = number()
        value = number()
        if key & 7 == 2:
            at += value
            if len(message) < at:
                raise ValueError("a field goes on beyond its message")
            yield key >> 3, message[at - value : at]
        else:
            yield key >> 3, value


def command(name: str, *parts: bytes) -> bytes:
    """A Flight SQL message in its `Any`: command("CommandStatementQuery", field(1, "SELECT 1"))."""
    url = "type.googleapis.com/arrow.flight.protocol.sql." + name
    return field(1, url) + field(2, b"".join(parts))


def statement(sql: str) -> bytes:
    return command("CommandStatementQuery", field(1, sql))


def ticket(data: bytes | str) -> bytes:
    return field(1, data)


def descriptor(cmd: bytes | str) -> bytes:
    return field(1, 2) + field(2, cmd)


def path(*parts: str) -> bytes:
    return field(1, 1) + b"".join(field(3, part) for part in parts)


def action(name: str, body: bytes = b"") -> bytes:
    return field(1, name) + field(2, body)
