"""JDBC, as DBeaver speaks it: runs Jdbc.java with the driver that SCREENLINE_TEST_JDBC names.

The driver is org.apache.arrow:flight-sql-jdbc-driver, a single jar; java is a JDK of 17 or newer.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

from harness import Server, Skipped, check, run


@check
def the_driver_gets_what_it_asks_for(server: Server) -> None:
    driver = os.environ.get("SCREENLINE_TEST_JDBC")
    if not driver or not Path(driver).is_file():
        raise Skipped("SCREENLINE_TEST_JDBC names no jar of flight-sql-jdbc-driver")
    # The runtime alone does not compile a source file.
    if not shutil.which("java") or not shutil.which("javac"):
        raise Skipped("no JDK: install default-jdk-headless")
    options = [f"useEncryption={'true' if server.tls else 'false'}", "threadPoolSize=2"]
    if server.token:
        options.append("token=" + quote(server.token, safe=""))
    elif server.basic:
        user, secret = (quote(part, safe="") for part in server.basic)
        options += [f"user={user}", f"password={secret}"]
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        if server.ca:
            file.write(server.ca)
            file.flush()
            options.append("tlsRootCerts=" + quote(file.name, safe=""))
        url = f"jdbc:arrow-flight-sql://{server.authority}/?{'&'.join(options)}"
        # Arrow reads memory that the JDK closes off, and the driver logs more than anybody reads.
        command = ["java", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", driver]
        command += [str(Path(__file__).with_name("Jdbc.java")), url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    print(done.stdout, end="")
    assert done.returncode == 0, done.stderr.strip()[-2000:] or "see above"


if __name__ == "__main__":
    run(__doc__)
