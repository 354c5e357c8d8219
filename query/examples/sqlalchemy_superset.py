"""Asks by SQLAlchemy 1.4, as Superset does: the URL printed here is what its connection form wants.

pip install flightsql-dbapi 'SQLAlchemy<2' pandas
Then, beside ./deploy/demo: python query/examples/sqlalchemy_superset.py
"""

import argparse
import os
from urllib.parse import quote, urlsplit

from sqlalchemy import MetaData, Table, create_engine, func, inspect, select

parser = argparse.ArgumentParser()
parser.add_argument("--url", default="grpc://127.0.0.1:8815", help="grpc+tls://.. for TLS")
parser.add_argument("--ca", metavar="FILE", help="authorities (PEM) to trust")
arguments = parser.parse_args()
if arguments.ca:
    # The dialect has no option for it, but gRPC below reads this.
    os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = arguments.ca

server = urlsplit(arguments.url)
# Without it values are written into the text, which the dialect itself calls unsafe.
query = ["feature-sqlalchemy-prepared-statements=on"]
if server.scheme != "grpc+tls":
    query.append("insecure=True")
if token := os.environ.get("SCREENLINE_TOKEN"):
    query.append("token=" + quote(token, safe=""))
url = f"datafusion://{server.netloc}?{'&'.join(query)}"
print(url.replace(quote(token, safe=""), "TOKEN") if token else url)

engine = create_engine(url)
with engine.connect() as connection:
    print("tables:", *inspect(engine).get_table_names(schema="public"))
    reading = Table("reading", MetaData(), autoload_with=engine)
    # Grouped by its name: as an expression it would have a value of its own, and look like another.
    hour = func.date_trunc("hour", reading.c.time).label("hour")
    volumes = (
        select(hour, func.sum(reading.c.value).label("vehicles"))
        .where(reading.c.metric == "traffic.volume")
        .group_by("hour")
        .order_by("hour")
    )
    for row in connection.execute(volumes):
        print(row.hour, row.vehicles)
