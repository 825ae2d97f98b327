"""The page in a real browser, where one is there: Chromium, spoken to through its driver's plain HTTP interface."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dip_lightning.cli.report import write_report
from tests.report.test_report import HOSTILE, write_run

DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not (DRIVER and BROWSER), reason="needs Chromium and its driver")

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how WebDriver calls a reference to an element


class Browser:
    """A headless Chromium."""

    def __init__(self, profile: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._address = f"http://127.0.0.1:{port}"
        self._driver = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL)
        self._wait()
        switches = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1250,1500"]
        switches += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}"]
        options = {"binary": BROWSER, "args": switches}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = ""
        answer = self.call("/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"

    def _wait(self) -> None:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{self._address}/status", timeout=5).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError("the driver does not answer")

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        where = self._address + ("" if path == "/session" else self._session) + path
        request = urllib.request.Request(where, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, page: Path) -> None:
        self.call("/url", {"url": page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        return self.call("/execute/sync", {"script": script, "args": []})

    def find(self, selector: str) -> str:
        found: str = self.call("/element", {"using": "css selector", "value": selector})[ELEMENT]
        return found

    def press(self, element: str, keys: str) -> None:
        self.call(f"/element/{element}/value", {"text": keys})

    def point_at(self, selector: str) -> None:
        origin = {ELEMENT: self.find(selector)}
        move = {"type": "pointerMove", "origin": origin, "x": 0, "y": 0, "duration": 50}
        pointer = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [move]}
        self.call("/actions", {"actions": [pointer]})

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.call("/se/log", {"type": "browser"})]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("/screenshot")))

    def close(self) -> None:
        # The browser is not the driver's child, and would go on without it.
        request = urllib.request.Request(self._address + self._session, method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()
        self._driver.terminate()
        self._driver.wait(10)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


def test_the_page_opens_and_can_be_used(browser: Browser, tmp_path: Path) -> None:
    for seed, name in enumerate((HOSTILE, "plain.png")):
        write_run(tmp_path / "runs" / str(seed), image=name, device=HOSTILE)
    write_report([tmp_path / "runs"], tmp_path / "out")
    browser.open(tmp_path / "out" / "report.html")
    assert browser.complaints() == []
    assert browser.run("return document.title") == "Deep Image Prior: 2 runs"
    assert HOSTILE in browser.run("return document.body.textContent")
    assert browser.run("return document.querySelectorAll('img').length") == 4  # two a run, none from a name
    assert browser.run("return [...document.images].every(image => image.naturalWidth > 0)")

    slider = browser.find(".pair input")
    shown = "return getComputedStyle(document.querySelector('.pair')).getPropertyValue('--shown').trim()"
    assert browser.run(shown) == "50%"
    browser.press(slider, "\ue014\ue014")  # arrow right, twice
    assert browser.run(shown) == "52%"

    assert browser.run("return document.querySelectorAll('#chart polyline').length") == 4
    browser.point_at("#chart")
    told = browser.run("return document.getElementById('values').textContent")
    assert told.startswith("iteration ")
    assert "plain.png: 29.9" in told  # near the middle of the peak's flank
    # A name hides its curves, and shows them again.
    hidden = "return [...document.querySelectorAll('#chart polyline')].map(line => line.style.display)"
    assert browser.run("return document.querySelectorAll('#keys button').length") == 2
    browser.press(browser.find("#keys button"), " ")
    assert browser.run(hidden) == ["none", "none", "", ""]
    browser.press(browser.find("#keys button"), " ")
    assert browser.run(hidden) == ["", "", "", ""]
    # Ticks are round numbers.
    ticks = "[...document.querySelectorAll('#chart text[text-anchor=middle][font-size=\"12\"]')]"
    assert browser.run(f"return {ticks}.map(text => text.textContent)") == ["0", "20", "40", "60", "80"]
    assert browser.complaints() == []


def test_ten_columns_stand_there_at_first_and_all_behind_a_switch(browser: Browser, tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "1")
    write_report([tmp_path / "runs"], tmp_path / "out")
    browser.open(tmp_path / "out" / "report.html")
    seen = "return [...document.querySelectorAll('thead th')].filter(cell => cell.offsetWidth > 0).length"
    every = browser.run("return document.querySelectorAll('thead th').length")
    assert browser.run(seen) == 10 < every
    browser.press(browser.find("#all"), " ")
    assert browser.run(seen) == every
    assert browser.run("return document.querySelector('.hint').offsetHeight") > 0


def test_it_can_be_read_on_a_telephone(browser: Browser, tmp_path: Path) -> None:
    for index in range(9):
        write_run(tmp_path / "runs" / str(index), dropout=index / 10)
    write_report([tmp_path / "runs"], tmp_path / "out")
    browser.call("/window/rect", {"width": 420, "height": 900})
    try:
        browser.open(tmp_path / "out" / "report.html")
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
        scale = "const svg = document.querySelector('#chart'); return svg.getBoundingClientRect().width / svg.viewBox"
        assert browser.run(f"{scale}.baseVal.width") > 0.9  # words are not made smaller
        titles = "[...document.querySelectorAll('#chart text[font-size=\"13\"]')].map(text => text.textContent)"
        assert browser.run(f"return {titles}") == ["iteration", "PSNR (dB)"]
        # Nine groups, seven colours: the last two are dashed.
        lines = "[...document.querySelectorAll('#chart polyline[stroke-width=\"2\"]')]"
        dashed = browser.run(f"return {lines}.map(line => line.getAttribute('stroke-dasharray') !== '')")
        assert dashed == [False] * 7 + [True] * 2
    finally:
        browser.call("/window/rect", {"width": 1250, "height": 1500})


def test_a_report_without_a_clean_image_opens_too(browser: Browser, tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "own", one_pass=None, averaged=None, selected={"psnr": None})
    (tmp_path / "runs" / "own" / "curves.csv").write_text("iteration,loss\n0,0.1\n1,0.05\n", encoding="utf-8")
    write_report([tmp_path / "runs"], tmp_path / "out")
    browser.open(tmp_path / "out" / "report.html")
    assert "No run has a clean image" in browser.run("return document.body.textContent")
    assert browser.complaints() == []
