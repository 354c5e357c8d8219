"""What a page's fetch does, by hand: a DoGet as gRPC-web over HTTP/1.1, and Arrow out of it.

pip install pyarrow
Then, beside ./deploy/demo: python query/examples/grpc_web.py
"""

import argparse
import http.client
import os
import ssl
from urllib.parse import unquote, urlsplit

import pyarrow as pa

parser = argparse.ArgumentParser()
parser.add_argument("--url", default="http://127.0.0.1:8815", help="https://.. for TLS")
parser.add_argument("--ca", metavar="FILE", help="authorities (PEM) to trust")
arguments = parser.parse_args()
server = urlsplit(arguments.url)
if server.scheme in ("https", "grpc+tls"):
    trust = ssl.create_default_context(cafile=arguments.ca)
    connection = http.client.HTTPSConnection(server.netloc, context=trust)
else:
    connection = http.client.HTTPConnection(server.netloc)


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


# A ticket has one field: number 1, wire type 2 (0x0A), its length (here below 128), its bytes.
sql = b"SELECT time, sensor, value FROM reading ORDER BY time DESC LIMIT 1000"
message = b"\x0a" + bytes([len(sql)]) + sql
headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
if token := os.environ.get("SCREENLINE_TOKEN"):
    headers["authorization"] = f"Bearer {token}"
# Each message has five bytes before it: flags, and its length.
body = b"\0" + len(message).to_bytes(4, "big") + message
connection.request("POST", "/arrow.flight.protocol.FlightService/DoGet", body, headers)
response = connection.getresponse()

arrow = bytearray()
# The status is in the headers if nothing came, else in trailers: a last frame, flagged 0x80.
status = {name.lower(): value for name, value in response.getheaders()}
while head := response.read(5):
    frame = response.read(int.from_bytes(head[1:], "big"))
    if head[0] & 0x80:
        status |= dict(line.split(":", 1) for line in frame.decode().splitlines())
        continue
    # FlightData: field 2 is the header of an Arrow message, field 1000 its body.
    fields, at = {}, 0
    while at < len(frame):
        key, at = varint(frame, at)
        length, at = varint(frame, at)
        fields[key >> 3], at = frame[at : at + length], at + length
    header = fields[2] + bytes(-len(fields[2]) % 8)
    arrow += (
        b"\xff\xff\xff\xff" + len(header).to_bytes(4, "little") + header + fields.get(1000, b"")
    )

# Without a status the stream was cut: what came is not the whole answer.
if status.get("grpc-status", "missing").strip() != "0":
    raise SystemExit(
        f"status {status.get('grpc-status')}: {unquote(status.get('grpc-message', ''))}"
    )
print(pa.ipc.open_stream(bytes(arrow)).read_all())
