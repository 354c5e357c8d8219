"""With the keyboard alone: every control, every chart, every list of names."""

from harness import City, check, check_of_each_view

# More stops than that are rows of a list, each like the others.
STOPS_MAX = 250

# The elements that Tab should stop at, in their order.
BEGIN_WALK = """() => {
  const stops = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")];
  window.stops = stops.filter((element) =>
    0 <= element.tabIndex && !element.disabled && element.closest("[inert]") === null
    && element.checkVisibility({ visibilityProperty: true })
    && (element.type !== "radio" || element.checked));
  return window.stops.length;
}"""
STEP = """() => {
  const element = document.activeElement;
  if (element === null || element === document.body) return null;
  const isMarked = (one) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
    return (outlineStyle !== "none" && 1 <= parseFloat(outlineWidth)) || boxShadow !== "none";
  };
  const { left, right, top, bottom } = element.getBoundingClientRect();
  return {
    at: window.stops.indexOf(element),
    name: `${element.tagName.toLowerCase()}.${element.className} `
      + (element.getAttribute("aria-label") ?? element.textContent.trim().slice(0, 40)),
    isMarked: [element, element.parentElement, element.closest("label")]
      .some((one) => one !== null && isMarked(one)),
    isSeen: left < innerWidth && 0 < right && top < innerHeight && 0 < bottom,
  };
}"""
LEFT_OUT = """(visited) => window.stops
  .filter((element, at) => element.isConnected && !element.disabled && !visited.includes(at))
  .map((element) => `${element.tagName.toLowerCase()} ${element.ariaLabel ?? element.textContent.trim()}`)"""


@check_of_each_view
def tab_reaches_every_control_in_order_and_shows_where_it_is(city: City, view: str) -> None:
    with city.visit(f"/{view}") as visit:
        stops = visit.page.evaluate(BEGIN_WALK)
        visited, wrong = [], []
        # Dates have several stops each.
        for _ in range(min(2 * stops + 20, STOPS_MAX)):
            # In a text it writes spaces, until Escape was pressed.
            visit.page.keyboard.press("Escape")
            visit.page.keyboard.press("Tab")
            step = visit.page.evaluate(STEP)
            if step is None:
                break
            if step["at"] in visited:
                continue  # parts of a date
            if 0 <= step["at"]:
                if visited and step["at"] < visited[-1]:
                    wrong.append(f"{step['name']} comes too late")
                visited.append(step["at"])
            if not step["isMarked"]:
                wrong.append(f"{step['name']} shows no focus")
            if not step["isSeen"]:
                wrong.append(f"{step['name']} has the focus and is not seen")
        left = visit.page.evaluate(LEFT_OUT, visited) if stops < STOPS_MAX / 2 else []
        wrong += [f"{name} is not reached" for name in left]
    assert not wrong, "; ".join(dict.fromkeys(wrong))


@check
def the_first_stop_leads_past_the_navigation(city: City) -> None:
    with city.visit("/now") as visit:
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("() => document.activeElement.className") == "skip"
        visit.page.keyboard.press("Enter")
        assert visit.page.evaluate("() => document.activeElement.id") == "view"


@check_of_each_view
def arrow_keys_read_the_charts_aloud(city: City, view: str) -> None:
    with city.visit(f"/{view}") as visit:
        for name in visit.figures():
            figure = visit.figure(name)
            for at in range(figure.locator(".canvas[tabindex]").count()):
                chart = figure.locator(".canvas[tabindex]").nth(at)
                read = figure.locator("output.readout").nth(at)
                chart.focus()
                said = []
                for key in ("Home", "ArrowRight", "End"):
                    chart.press(key)
                    visit.page.wait_for_timeout(50)
                    said.append(read.inner_text().strip())
                assert all(said), f"{name}: an arrow key says nothing: {said}"


@check_of_each_view
def a_list_of_names_opens_and_closes_by_keyboard(city: City, view: str) -> None:
    with city.visit(f"/{view}") as visit:
        boxes = visit.page.get_by_role("combobox").and_(visit.page.locator("input"))
        for at in range(boxes.count()):
            box = boxes.nth(at)
            box.focus()
            box.press("ArrowDown")
            assert box.get_attribute("aria-expanded") == "true", "ArrowDown does not open the list"
            active = box.get_attribute("aria-activedescendant")
            assert active is None or visit.page.locator(f"[id='{active}']").count() == 1, active
            box.press("Escape")
            assert box.get_attribute("aria-expanded") == "false", "Escape does not close the list"
