from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from demo.airflow import Airflow
from ui_tests.books import today
from ui_tests.conftest import ROOT, log, within
from ui_tests.plan import ACTIVITY, MONTHS, PAYOUTS, TYPES

PICTURES = ROOT / "docs" / "pictures"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
DAY = 86_400


@pytest.fixture(scope="session")
def told(airflow: Airflow) -> Any:
    """What the page is told when all has been read."""
    session = requests.Session()
    session.trust_env = False
    token = session.get(f"{airflow.url}/auth/token", timeout=60).json()["access_token"]
    session.headers["Authorization"] = f"Bearer {token}"
    answers: list[requests.Response] = []

    def is_read() -> bool:
        answers.append(session.get(f"{airflow.url}/reportrun/coverage", timeout=60))
        answers[-1].raise_for_status()
        return not answers[-1].json()["reading"]

    within(is_read, 240, lambda: answers[-1].text[-500:])
    return answers[-1]


@contextmanager
def opened(browser: Any, airflow: Airflow, path: str, **context: Any) -> Iterator[Any]:
    """Open a page of Airflow's, logged in; what it says on its console is an error."""
    it = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **context})
    page = it.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.goto(f"{airflow.url}{path}", timeout=120_000)
    page.locator("section").first.wait_for(timeout=120_000)
    yield page
    it.close()
    assert not [text for text in said if "stripe" in text.lower() or "reportrun" in text], said


def series(told: requests.Response, report_type: str) -> Any:
    (it,) = (it for it in told.json()["series"] if it["report_type"] == report_type)
    return it


def state(series: Any, age: int) -> str:
    """Return the state of the day that many days ago."""
    at = series["start"]
    wanted = today() - timedelta(days=age)
    numbers = [length for length, count in series["lengths"] for _ in range(count)]
    for letter, length in zip(series["states"], numbers, strict=True):
        if time.strftime("%Y-%m-%d", time.gmtime(at)) == f"{wanted}":
            return str(letter)
        at += length
    return ""


def violations(page: Any, within: str = "#stripe-reports") -> list[str]:
    """Return what axe-core finds, by rule and element."""
    import axe_playwright_python

    page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text())
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    found = page.evaluate("([context, options]) => axe.run(context, options)", [within, options])
    assert found["passes"]
    return [f"{it['id']}: {node['html'][:200]}" for it in found["violations"] for node in it["nodes"]]


def calendar(page: Any, report_type: str) -> Any:
    """Return the section of a report type, as the only one that is open."""
    for it in page.locator("button.series[aria-expanded=true]").all():
        it.click()
    section = page.locator("section", has_text=report_type)
    section.locator("button.series").click()
    section.locator("td[data-state]").first.wait_for()
    return section


def focused(page: Any) -> str:
    """Return the label of what has the focus, below the page's root."""
    return str(
        page.evaluate(
            "() => { const it = document.querySelector('#stripe-reports').shadowRoot.activeElement;"
            " return it ? it.getAttribute('aria-label') || it.textContent : ''; }"
        )
    )


def picture(page: Any, name: str) -> None:
    """Take a picture for the docs, where they are asked for."""
    if os.environ.get("WRITE_DOCS"):
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")


# --- What the page is told -----------------------------------------------------------------------------------


def test_each_state_of_real_dag_runs_is_told(told: requests.Response) -> None:
    """Landed by a task, failed, waiting, made anew at Stripe, and not there yet."""
    activity, payouts = series(told, ACTIVITY), series(told, PAYOUTS)
    assert {state(activity, age) for age in range(3, 10)} == {"l", "c"}
    assert [state(activity, age) for age in (2, 0)] == ["p", "n"]
    assert [state(activity, age) for age in (16, 23, 24)] == ["e", "m", "m"]
    assert [state(payouts, age) for age in (5, 4, 3)] == ["l", "f", "f"]
    assert series(told, MONTHS)["unit"] == "month"


def test_ten_years_of_twenty_report_types_are_few_bytes(told: requests.Response) -> None:
    """As they come over the wire, with all other series."""
    found = [it for it in told.json()["series"] if it["report_type"] in TYPES]
    days = sum(len(it["states"]) for it in found)
    log.info("%d intervals of %d series: %d bytes", days, len(found), len(told.content))
    assert (len(found), days > 20 * 3650) == (20, True)
    assert len(told.content) <= 200_000


# --- In the browser ------------------------------------------------------------------------------------------


def test_it_is_usable_within_a_second(told: requests.Response, browser: Any, airflow: Airflow) -> None:
    """From what the server told to calendars that answer, with ten years of twenty report types."""
    with opened(browser, airflow, "/reportrun/") as page:
        spent = page.evaluate(
            """async () => {
                const text = await (await fetch("coverage")).text();
                const { Coverage } = await import("/reportrun/static/coverage.js");
                const host = document.body.appendChild(document.createElement("div"));
                const it = new Coverage(host);
                clearTimeout(it.timer);
                const begun = performance.now();
                it.render(JSON.parse(text));
                host.getBoundingClientRect();
                await new Promise(requestAnimationFrame);
                const spent = performance.now() - begun;
                it.close();
                host.remove();
                return spent;
            }"""
        )
        log.info("rendered in %.0f ms", spent)
        assert spent <= 1000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("viewport", "shape"), [(WIDE, ""), (NARROW, "-narrow")], ids=["wide", "narrow"])
def test_axe_finds_nothing(
    told: requests.Response, browser: Any, airflow: Airflow, scheme: str, viewport: Any, shape: str
) -> None:
    """Neither in the calendar nor in what a click shows, and nothing is wider than the screen."""
    with opened(browser, airflow, "/reportrun/", color_scheme=scheme, viewport=viewport) as page:
        section = calendar(page, ACTIVITY)
        assert page.evaluate("() => document.querySelector('#stripe-reports').dataset.theme") == scheme
        assert violations(page, "html") == []
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        picture(page, f"coverage-{scheme}{shape}")
        section.locator("td[data-state='l']").last.click()
        page.locator("dialog dl").wait_for(timeout=60_000)
        assert violations(page, "html") == []


def test_the_keyboard_reaches_everything(told: requests.Response, browser: Any, airflow: Airflow) -> None:
    """One stop for a calendar, the arrows within it, Enter for an interval, Escape back to it."""
    with opened(browser, airflow, "/reportrun/") as page:
        calendar(page, ACTIVITY)
        page.evaluate("() => document.querySelector('#stripe-reports').shadowRoot.activeElement.blur()")
        page.get_by_role("button", name="Read again").focus()
        is_cell = "() => document.querySelector('#stripe-reports').shadowRoot.activeElement.matches('td')"
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate(is_cell):
                break
        begin = focused(page)
        assert f"{today()}" in begin  # the last one, of this year
        page.keyboard.press("ArrowLeft")
        assert focused(page) != begin
        page.keyboard.press("ArrowRight")
        assert focused(page) == begin
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowDown")
        assert focused(page) == begin
        page.keyboard.press("Home")
        first = focused(page)
        page.keyboard.press("PageUp")
        assert focused(page) not in (first, begin)
        page.keyboard.press("Enter")
        page.locator("dialog[open]").wait_for()
        assert focused(page) == "Close"
        back = page.locator("dialog h2").text_content()
        page.keyboard.press("Escape")
        assert focused(page) == back


def test_a_landed_interval_leads_to_its_dag_run_and_to_the_dashboard(
    told: requests.Response, browser: Any, airflow: Airflow
) -> None:
    """With the manifest of what a task landed."""
    with opened(browser, airflow, "/reportrun/") as page:
        section = calendar(page, ACTIVITY)
        day = today() - timedelta(days=4)
        if day.year != today().year:
            section.get_by_role("button", name=f"{day.year}:").click()
        section.locator(f"td[aria-label*='{day}']").click()
        dialog = page.locator("dialog")
        dialog.locator("dl").wait_for(timeout=60_000)
        assert "frr_" in dialog.locator("dl").inner_text()
        links = [it.get_attribute("href") for it in dialog.locator("a").all()]
        assert links[0].startswith(f"{airflow.url}/dags/stripe_activity/runs/")
        assert links[1].startswith("https://dashboard.stripe.com/test/workbench/logs?object=req_")
        page.goto(links[0])
        page.get_by_text("report").first.wait_for(timeout=120_000)


def test_the_gaps_have_a_backfill_that_airflow_takes(
    told: requests.Response, browser: Any, airflow: Airflow
) -> None:
    """The commands are those that fill them, and Airflow makes the runs that they promise."""
    with opened(browser, airflow, "/reportrun/") as page:
        section = calendar(page, ACTIVITY)
        section.get_by_role("button", name="How to fill the gaps").click()
        section.locator("pre").first.wait_for(timeout=60_000)
        commands = section.locator("pre").all_inner_texts()
        assert all(it.startswith("airflow backfill create --dag-id stripe_activity") for it in commands)
        airflow.run(*commands[-1].split()[1:], "--dry-run")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_in_airflows_menu_and_in_its_theme(
    told: requests.Response, browser: Any, airflow: Airflow, scheme: str
) -> None:
    """Whatever theme the machine has."""
    other = {"light": "dark", "dark": "light"}[scheme]
    with opened(browser, airflow, "/plugin/stripe-reports", color_scheme=scheme) as page:
        host = page.locator("#stripe-reports")
        assert host.evaluate("it => it.dataset.theme") == scheme
        page.evaluate("other => { document.documentElement.className = other; }", other)
        page.wait_for_function(
            "other => document.querySelector('#stripe-reports').dataset.theme === other", arg=other
        )
        page.evaluate("scheme => { document.documentElement.className = scheme; }", scheme)
        calendar(page, ACTIVITY)
        assert violations(page) == []
        page.get_by_role("button", name="Browse").click()
        page.get_by_role("menuitem", name="Stripe reports").wait_for(timeout=30_000)
