"""The way in where tokens are asked for."""

from urllib.parse import urlsplit

from harness import City, check_with_token

FIELD = "Token"


@check_with_token
def nobody_is_shown_anything_without_a_token(city: City) -> None:
    with city.visit("/traffic") as visit:
        visit.expect_trouble()  # the refusals are on the console
        visit.page.get_by_role("heading", name="Sign in").wait_for()
        assert visit.page.locator("header nav").count() == 0
        visit.page.get_by_label(FIELD).fill("sl_guessed")
        visit.page.keyboard.press("Enter")
        visit.reads("This token was not accepted")


@check_with_token
def a_token_opens_the_view_that_was_asked_for_until_signing_out(city: City) -> None:
    with city.visit("/traffic?units=imperial") as visit:
        visit.expect_trouble()
        visit.page.get_by_label(FIELD).fill(city.token)
        visit.page.get_by_role("button", name="Sign in").click()
        visit.page.locator("header nav").wait_for()
        visit.settle()
        assert urlsplit(visit.page.url).path == "/traffic", visit.page.url
        assert visit.page.get_by_label("Units").input_value() == "imperial"
        assert city.token not in visit.page.url, "the token is in the address"
        assert "could not be loaded" not in visit.text(), visit.text()
        visit.page.reload()
        visit.settle()
        assert visit.page.locator("header nav a").count() == 6, "the tab keeps the token"
        kept = visit.page.evaluate("() => JSON.stringify(localStorage) + document.cookie")
        assert city.token not in kept, "the token outlives the tab"
        visit.page.get_by_role("button", name="Sign out").click()
        visit.page.get_by_role("heading", name="Sign in").wait_for()
        visit.page.reload()
        visit.page.get_by_role("heading", name="Sign in").wait_for()

