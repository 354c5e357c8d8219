"""How fast the dashboard is, in Chromium beside a city that runs: `bench.py --url http://127.0.0.1:8815`.

Nothing is asserted: the figures are those of this machine, which draws without a graphics card.
With --ready and --program, 5,000 sensors named bench-* are made up, and stay in that city: take one
that may be thrown away (`deploy/bench page` does).
"""

import json
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

from playwright.sync_api import sync_playwright

from harness import City, arguments_of
from visit import Visit

POINTS, SENSORS, PACK = 100_000, 5_000, 100
# Until all are seen on the page, and then for how long it is watched.
SETTLE_S, LIVE_S = 10, 30
SLOW_MS = 50
SERIES = f"""SELECT to_timestamp(1767225600 + number) AS time,
  sin(number / 900.0) * 40 + number % 7 AS value
FROM generate_series(1, {POINTS}) AS series (number)
ORDER BY time"""

ROUNDS = 5
# Since the page was asked for: when the list has rows, and when the map has its canvas.
WATCH = """
  window.there_ms = {};
  new MutationObserver(() => {
    for (const [name, selector] of [["list", ".now-list tbody tr"], ["map", "canvas.maplibregl-canvas"]])
      if (document.querySelector(selector)) window.there_ms[name] ??= performance.now();
  }).observe(document, { childList: true, subtree: true });
"""
FIRST = """() => ({
  ...window.there_ms,
  paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
  scripts: performance.getEntriesByType("resource").filter((one) => /\\.m?js$/.test(one.name))
    .map((one) => ({ name: one.name.split("/").at(-1), bytes: one.encodedBodySize })),
  initial: [...document.scripts].map((one) => one.src.split("/").at(-1)),
})"""
COUNT_FRAMES = """() => {
  window.frames_ms = [];
  let last = performance.now();
  const next = (now) => {
    window.frames_ms.push(now - last);
    last = now;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}"""


def first_view(city: City) -> None:
    """Each in a context of its own, so with an empty cache. The browser's own first start is not the page's."""
    firsts = []
    for _ in range(1 + ROUNDS):
        with city.visit("/now", script=WATCH) as visit:
            firsts.append(visit.page.evaluate(FIRST))
    print(f"City now with an empty cache, median of {ROUNDS} (and in a browser that was just started):")
    for name, about in (("paint", "something is seen"), ("list", "the list has its rows"), ("map", "the map is there")):
        times = [first[name] for first in firsts]
        print(f"  {about:32}{statistics.median(times[1:]):8.0f} ms ({times[0]:.0f} ms)")
    scripts = firsts[0]["scripts"]
    # What the page itself names; views and the map are fetched after it.
    for about, some in (("initial script, as it is sent", [one for one in scripts if one["name"] in firsts[0]["initial"]]),
                        ("all scripts with the map", scripts)):
        print(f"  {about:32}{sum(one['bytes'] for one in some) / 1000:8.1f} kB")


def report(visit: Visit, what: str) -> None:
    frames = visit.page.evaluate("() => window.frames_ms")
    slow = [frame for frame in frames if SLOW_MS < frame]
    print(f"{what}: {len(frames)} frames, longest {max(frames):.0f} ms, {len(slow)} over {SLOW_MS} ms")


def zooming(city: City) -> None:
    with city.visit(f"/ask?sql={quote(SERIES)}") as visit:
        chart = visit.figure("answer").locator(".plot .canvas").first
        chart.focus()
        visit.page.evaluate(COUNT_FRAMES)
        for key in ("+", "+", "+", "+", "-", "+", "0", "+", "+", "0"):
            visit.page.keyboard.press(key)
            visit.page.wait_for_timeout(200)
        report(visit, f"zooming a plot of {POINTS:,} points")


def register(city: City, program: str) -> None:
    """In rows a hundred long, around the middle of the bundled grid."""
    with tempfile.TemporaryDirectory() as folder:
        sensors, series = Path(folder, "sensors.csv"), Path(folder, "series.csv")
        places = ((sensor, 9.99 + sensor % 100 * 1e-4, 53.55 + sensor // 100 * 1e-4) for sensor in range(SENSORS))
        rows = [f"bench-{sensor},loop,bench,{lon:.4f},{lat:.4f}" for sensor, lon, lat in places]
        sensors.write_text("\n".join(["id,kind,owner,lon,lat", *rows]))
        rows = [f"bench-{sensor},traffic.occupancy,%,rate,1" for sensor in range(SENSORS)]
        series.write_text("\n".join(["sensor,metric,unit,kind,interval_s", *rows]))
        command = [program, "registry", "import", "--database-url", city.services["database"], sensors, series]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def publish(broker: str, stop: threading.Event) -> None:
    """A reading of each sensor every second, in packs, until it is stopped."""
    url = urlsplit(broker)
    command = ["mosquitto_pub", "-h", url.hostname, "-p", str(url.port), "-l", "-t", "city/senml/bench"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        while not stop.is_set():
            now = time.time()
            for first in range(0, SENSORS, PACK):
                pack = [
                    {"n": f"bench-{sensor}:traffic.occupancy", "u": "%", "t": now, "v": (sensor + now) % 100}
                    for sensor in range(first, first + PACK)
                ]
                process.stdin.write(json.dumps(pack) + "\n")
            process.stdin.flush()
            stop.wait(max(0.0, now + 1 - time.time()))
        process.stdin.close()


def many_sensors(city: City, program: str) -> None:
    register(city, program)
    stop = threading.Event()
    publisher = threading.Thread(target=publish, args=(city.services["mqtt"], stop))
    publisher.start()
    try:
        with city.visit("/now?layer=all&by=age") as visit:
            visit.page.wait_for_timeout(SETTLE_S * 1000)
            visit.page.evaluate(COUNT_FRAMES)
            visit.page.wait_for_timeout(LIVE_S * 1000)
            report(visit, f"{SENSORS:,} sensors live at 1/s each, for {LIVE_S} s")
            print("  " + visit.page.locator(".now-facts").inner_text().replace("\n", " "))
    finally:
        stop.set()
        publisher.join()


def main() -> None:
    parser = arguments_of(__doc__)
    parser.add_argument("--program", metavar="FILE", help="screenline, to register the made-up sensors")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        city = City(arguments, playwright)
        first_view(city)
        zooming(city)
        if arguments.ready and arguments.program:
            many_sensors(city, arguments.program)
        else:
            print("not measured with live sensors: they need --ready and --program")


if __name__ == "__main__":
    main()
