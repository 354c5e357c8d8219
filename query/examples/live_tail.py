"""Follows readings, or passages, as they are committed, and goes on where it was after a broken line.

pip install pyarrow
Then, beside ./deploy/demo: python query/examples/live_tail.py
"""

import argparse
import json
import os
import time
from pathlib import Path

import pyarrow.flight as flight

COLUMNS = {"reading": ["time", "sensor", "value"], "event": ["time", "sensor", "class", "speed"]}

parser = argparse.ArgumentParser()
parser.add_argument("--url", default="grpc://127.0.0.1:8815", help="grpc+tls://.. for TLS")
parser.add_argument("--ca", metavar="FILE", help="authorities (PEM) to trust")
parser.add_argument("--for", type=float, default=5, metavar="S", dest="seconds", help="seconds [5]")
parser.add_argument("--dataset", choices=COLUMNS, default="reading", help="readings, or passages [reading]")
arguments = parser.parse_args()
ca = Path(arguments.ca).read_bytes() if arguments.ca else None
token = os.environ.get("SCREENLINE_TOKEN")
headers = [(b"authorization", f"Bearer {token}".encode())] if token else []

end = time.monotonic() + arguments.seconds
dataset = arguments.dataset
ticket: dict[str, object] = {"dataset": dataset, "live": True, "columns": COLUMNS[dataset]}

with flight.FlightClient(arguments.url, tls_root_certs=ca) as client:
    # What every sensor said last, also one that is silent for months; then what comes.
    newest = b"SELECT count(*) AS series, max(time) AS newest FROM latest"
    options = flight.FlightCallOptions(timeout=60, headers=headers)
    print(client.do_get(flight.Ticket(newest), options).read_all().to_pylist()[0])
    while (left := end - time.monotonic()) > 0:
        # An answer without an end has no timeout of its own: here it is the rest of the time.
        options = flight.FlightCallOptions(timeout=left, headers=headers)
        try:
            for chunk in client.do_get(flight.Ticket(json.dumps(ticket).encode()), options):
                about = json.loads(chunk.app_metadata.to_pybytes())
                if chunk.data is None:
                    print("nothing new at", about["at"])  # a sign of life, every 15 s at least
                else:
                    print(chunk.data.num_rows, "rows, the last", chunk.data.to_pylist()[-1])
                ticket["resume"] = about["resume"]  # behind this message
        except flight.FlightTimedOutError:
            break
        except (flight.FlightUnavailableError, flight.FlightServerError) as error:
            print("the line broke, going on:", error)
            time.sleep(1)
