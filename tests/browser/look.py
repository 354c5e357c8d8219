"""What a view looks like: nothing cut off, nothing upon another, all of it named, in each light and width."""

from axe_playwright_python.sync_playwright import Axe

from harness import VIEWS, WITHOUT_WEBGL, City, check, check_of_each_view
from visit import Visit

# WCAG 2.2 AA and what it builds upon.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
GRAVE = ("serious", "critical")
NARROW = {"width": 390, "height": 844}

# What is beyond the edge of the page, cut off, or upon something else.
LOOK = """() => {
  const problems = [];
  const { scrollWidth, clientWidth } = document.documentElement;
  if (clientWidth < scrollWidth) problems.push(`the page scrolls sideways, ${scrollWidth} of ${clientWidth}`);
  const called = (element) =>
    `${element.tagName.toLowerCase()}.${element.className} "${element.textContent.trim().slice(0, 40)}"`;
  const clips = (element) => {
    for (let above = element.parentElement; above !== null; above = above.parentElement) {
      const { overflowX } = getComputedStyle(above);
      if (["auto", "scroll"].includes(overflowX)) return undefined;
      if (["hidden", "clip"].includes(overflowX)) return above.getBoundingClientRect();
    }
    return { left: 0, right: clientWidth };
  };
  const controls = [];
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest(".unseen, .skip, svg, .maplibregl-map, [aria-hidden=true]")) continue;
    const isText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== "");
    const isControl = element.matches("button, input, select, textarea, a.button");
    if (!isText && !isControl && !element.matches("canvas")) continue;
    const box = element.getBoundingClientRect();
    if (box.width === 0 || box.height === 0) continue;
    const around = clips(element);
    const { overflowX, textOverflow } = getComputedStyle(element);
    const isClipped = ["hidden", "clip"].includes(overflowX) && textOverflow !== "ellipsis";
    if (around !== undefined && (box.left < around.left - 1 || around.right + 1 < box.right))
      problems.push(`cut off: ${called(element)}`);
    else if (isText && isClipped && element.clientWidth + 1 < element.scrollWidth)
      problems.push(`too long for its place: ${called(element)}`);
    if (isControl && !element.matches("button button, label button")) controls.push([element, box]);
  }
  for (const [at, [one, a]] of controls.entries())
    for (const [other, b] of controls.slice(at + 1)) {
      const [width, height] = [Math.min(a.right, b.right) - Math.max(a.left, b.left),
        Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)];
      if (2 < width && 2 < height && !one.contains(other)) problems.push(`${called(one)} is upon ${called(other)}`);
    }
  return problems;
}"""

ENDLESS = """() => document.getAnimations()
  .filter((one) => one.effect.getTiming().iterations === Infinity).length"""


def findings(visit: Visit) -> list[str]:
    """What axe finds, with the first place of each."""
    options = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": RULES}}
    violations = Axe().run(visit.page, options=options).response["violations"]
    return [
        f"{one['id']} ({one['impact']}, {len(one['nodes'])} places, such as {one['nodes'][0]['html'][:160]}: "
        f"{one['nodes'][0].get('failureSummary', '').splitlines()[-1].strip()})"
        for one in violations
        if one["impact"] in GRAVE
    ]


def picture(city: City, visit: Visit, name: str) -> None:
    """For people to look at."""
    if city.pictures:
        visit.page.screenshot(path=city.pictures / f"{name}.png", full_page=True)


def looks(city: City, visit: Visit, name: str) -> list[str]:
    picture(city, visit, name)
    found = visit.page.evaluate(LOOK)
    return [f"{name}: {what}" for what in [*found[:5], *findings(visit)]]


@check_of_each_view
def everything_is_seen_and_named_wide_and_narrow_light_and_dark(city: City, view: str) -> None:
    wrong = []
    with city.visit(f"/{view}") as visit:
        wrong += looks(city, visit, f"{view}-light")
        visit.page.emulate_media(color_scheme="dark")
        visit.settle()
        wrong += looks(city, visit, f"{view}-dark")
    with city.visit(f"/{view}", viewport=NARROW) as visit:
        wrong += looks(city, visit, f"{view}-narrow")
    assert not wrong, "; ".join(wrong)


@check_of_each_view
def other_colours_and_less_motion_are_no_trouble(city: City, view: str) -> None:
    with city.visit(f"/{view}", forced_colors="active", reduced_motion="reduce") as visit:
        moving = visit.page.evaluate(ENDLESS)
        assert moving == 0, f"{moving} animations go on for ever"


@check
def every_view_works_without_webgl(city: City) -> None:
    browser = city.launch(WITHOUT_WEBGL)
    try:
        for view in VIEWS:
            with city.visit(f"/{view}", browser=browser) as visit:
                assert visit.text().strip(), f"{view} shows nothing"
                if view == "now":
                    assert visit.page.locator("#view canvas.maplibregl-canvas").count() == 0
    finally:
        browser.close()
