"""The dashboard in a real browser, against a city that runs: `run.py --url http://127.0.0.1:8815`."""

import importlib
import sys

# Each registers its checks, which are made in this order.
PARTS = ("shell", "figures", "look", "keyboard", "traffic", "utilities", "ask", "away", "now", "sign_in")

if __name__ == "__main__":
    try:
        harness, *_ = [importlib.import_module(name) for name in ("harness", *PARTS)]
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in ("playwright", "axe_playwright_python"):
            raise
        print(f"SKIPPED  the dashboard in a browser: {error.name} is not installed")
        sys.exit()
    harness.run(__doc__)
