"""City now: the map, the list that says the same, and what arrives while it is open."""

import re
import time

from harness import City, check
from visit import Visit

# A detector of the bundled grid; what it says here is news.
SENSOR = "e1_A0A1_0"
LIST = f"/now?layer=traffic&by=age&q={SENSOR}"


def age(visit: Visit) -> str:
    row = visit.page.locator(".now-list tbody tr").filter(has_text=SENSOR)
    return row.locator("td").nth(1).inner_text()


def arrives(city: City, visit: Visit) -> None:
    """A reading that is published now is in the list within seconds, without a reload."""
    visit.page.evaluate("() => { window.marked = true; }")
    reading = {"n": f"{SENSOR}:traffic.occupancy", "u": "%", "v": 12.5, "t": time.time()}
    city.publish("city/senml/browser", [reading])
    end = time.monotonic() + 20
    while not re.fullmatch(r"(now|just now|\d s ago)", age(visit)):
        assert time.monotonic() < end, f"{SENSOR} was heard {age(visit)}"
        visit.page.wait_for_timeout(100)
    assert visit.page.evaluate("() => window.marked"), "the page was loaded anew"


def line(visit: Visit) -> str:
    return visit.page.locator(".live [role=status]").inner_text()


def is_live(visit: Visit) -> None:
    end = time.monotonic() + 60
    while line(visit) != "Live":
        assert time.monotonic() < end, f"the line is still {line(visit)!r}"
        visit.page.wait_for_timeout(100)


@check
def the_map_is_drawn_and_the_list_says_the_same_in_words(city: City) -> None:
    with city.visit("/now") as visit:
        visit.page.locator("canvas.maplibregl-canvas").wait_for()
        assert visit.page.locator(".now-list tbody tr").count(), "the list is empty"


@check
def without_a_map_the_list_is_there_and_says_why(city: City) -> None:
    with city.visit("/now?map=off") as visit:
        assert visit.page.locator("canvas").count() == 0
        assert visit.page.locator(".now-list tbody tr").count(), "the list is empty"


@check
def arrow_keys_walk_through_the_list_and_enter_opens_a_sensor(city: City) -> None:
    with city.visit("/now?layer=traffic") as visit:
        rows = visit.page.locator(".now-list tbody button")
        rows.first.focus()
        visit.page.keyboard.press("ArrowDown")
        assert rows.nth(1).evaluate("(row) => row === document.activeElement"), "the second row has no focus"
        visit.page.keyboard.press("Enter")
        visit.settle()
        assert rows.nth(1).get_attribute("aria-pressed") == "true"
        address, chosen = visit.page.url, visit.chosen()["pressed"]
    with city.visit(address) as visit:
        assert visit.chosen()["pressed"] == chosen, visit.chosen()["pressed"]


@check
def a_reading_is_seen_while_the_page_is_open(city: City) -> None:
    with city.visit(LIST) as visit:
        is_live(visit)
        arrives(city, visit)


@check
def what_is_paused_stays_until_it_is_resumed(city: City) -> None:
    with city.visit(LIST) as visit:
        is_live(visit)
        visit.page.get_by_role("button", name="Pause live updates").click()
        assert line(visit) == "Paused", line(visit)
        visit.page.get_by_role("button", name="Resume live updates").click()
        is_live(visit)
        arrives(city, visit)


@check
def the_live_line_takes_up_again_after_the_service_was_killed(city: City) -> None:
    with city.visit(LIST) as visit:
        is_live(visit)
        visit.expect_trouble()
        city.kill_query()
        is_live(visit)
        arrives(city, visit)
