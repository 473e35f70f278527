# SPDX-License-Identifier: MIT
"""A browser without a window, for what only a browser can tell: Chromium by chromedriver, over plain WebDriver."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def missing():
    """Why there is no browser to be had here; empty when there is one."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"there is no {' and no '.join(absent)}; Debian: apt-get install chromium chromium-driver" if absent else ""


class Browser:
    """One session. A context manager: the browser is gone afterwards, and so is all that it has written."""

    def __init__(self, width=1280, height=800, dark=False):
        self.profile = tempfile.TemporaryDirectory(prefix="dmasync-browser-")
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "HOME": self.profile.name, "TMPDIR": self.profile.name})
        try:
            started = re.compile(r"started successfully on port (\d+)")
            port = next(found[1] for line in self.driver.stdout if (found := started.search(line)))
            self.base = f"http://127.0.0.1:{port}/session"
            arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                         f"--window-size={width},{height}", f"--user-data-dir={self.profile.name}/profile"]
            arguments += ["--no-sandbox"] if os.geteuid() == 0 else []  # its sandbox refuses to run as root
            arguments += ["--blink-settings=preferredColorScheme=0"] if dark else []
            session = self._ask("POST", "", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome", "goog:chromeOptions": {"args": arguments},
                "goog:loggingPrefs": {"browser": "ALL"}}}})
            self.base += "/" + session["sessionId"]
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            if not self.base.endswith("/session"):
                self._ask("DELETE", "")
        except (AttributeError, OSError):
            pass  # it did not get that far
        self.driver.terminate()
        self.driver.wait()
        self.driver.stdout.close()
        self.profile.cleanup()

    def _ask(self, method, path, body=None):
        request = urllib.request.Request(self.base + path, method=method, headers={"Content-Type": "application/json"},
                                         data=None if body is None else json.dumps(body).encode())
        try:
            with DIRECTLY.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def open(self, path):
        self._ask("POST", "/url", {"url": path if str(path).startswith("about:") else f"file://{path}"})

    def run(self, script, *arguments):
        """What a function body in JavaScript returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def settle(self):
        """Waits until the page has drawn what it was asked to."""
        self._ask("POST", "/execute/async", {"script": """const done = arguments[arguments.length - 1];
            requestAnimationFrame(() => requestAnimationFrame(() => done()));""", "args": []})

    def act(self, kind, actions, **parameters):
        """Input as a person makes it: W3C actions of one device."""
        source = {"type": kind, "id": kind, "actions": actions}
        if kind == "pointer":
            source["parameters"] = {"pointerType": "mouse"}
        self._ask("POST", "/actions", {"actions": [{**source, **parameters}]})
        self.settle()

    def click(self, x, y):
        self.act("pointer", [{"type": "pointerMove", "x": round(x), "y": round(y)}, {"type": "pointerDown", "button": 0},
                             {"type": "pointerUp", "button": 0}])

    def drag(self, x, y, to_x, to_y):
        self.act("pointer", [{"type": "pointerMove", "x": round(x), "y": round(y)}, {"type": "pointerDown", "button": 0},
                             {"type": "pointerMove", "x": round(to_x), "y": round(to_y), "duration": 50},
                             {"type": "pointerUp", "button": 0}])

    def wheel(self, x, y, delta):
        self.act("wheel", [{"type": "scroll", "x": round(x), "y": round(y), "deltaX": 0, "deltaY": delta}])

    def messages(self):
        """What the console has been told since the last time, errors of the page among it."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def screenshot(self):
        """A PNG, in base64."""
        return self._ask("GET", "/screenshot")
