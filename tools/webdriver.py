# SPDX-License-Identifier: MIT
"""A browser without a window, for what only a browser can tell: Chromium, driven by selenium."""

import os
import shutil
import tempfile

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
except ImportError:
    webdriver = None


def missing():
    """Why there is no browser to be had here; empty when there is one."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    absent += ["selenium for this Python"] if webdriver is None else []
    why = f"there is no {' and no '.join(absent)}; Debian: apt-get install chromium chromium-driver python3-selenium"
    return why if absent else ""


class Browser:
    """One session. A context manager: the browser is gone afterwards, and so is all that it has written."""

    def __init__(self, width=1280, height=800, dark=False):
        self.profile = tempfile.TemporaryDirectory(prefix="dmasync-browser-")
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-proxy-server",
                     f"--window-size={width},{height}", f"--user-data-dir={self.profile.name}/profile"]
        arguments += ["--no-sandbox"] if os.geteuid() == 0 else []  # its sandbox refuses to run as root
        arguments += ["--blink-settings=preferredColorScheme=0"] if dark else []
        for argument in arguments:
            options.add_argument(argument)
        options.ignore_local_proxy_environment_variables()
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = Service(shutil.which("chromedriver"),
                          env={**os.environ, "HOME": self.profile.name, "TMPDIR": self.profile.name})
        try:
            self.driver = webdriver.Chrome(service=service, options=options)
        except BaseException:
            self.profile.cleanup()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()
        self.profile.cleanup()

    def open(self, path):
        self.driver.get(path if str(path).startswith("about:") else f"file://{path}")

    def run(self, script, *arguments):
        """What a function body in JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def settle(self):
        """Waits until the page has drawn what it was asked to."""
        self.driver.execute_async_script("""const done = arguments[arguments.length - 1];
            requestAnimationFrame(() => requestAnimationFrame(() => done()));""")

    def _act(self, *steps):
        """Input as a person makes it, by a mouse at places in the window."""
        chain = ActionChains(self.driver, duration=50)
        for step in steps:
            step(chain.w3c_actions.pointer_action)
        chain.perform()
        self.settle()

    def click(self, x, y):
        self._act(lambda p: p.move_to_location(round(x), round(y)), lambda p: p.pointer_down(), lambda p: p.pointer_up())

    def drag(self, x, y, to_x, to_y):
        self._act(lambda p: p.move_to_location(round(x), round(y)), lambda p: p.pointer_down(),
                  lambda p: p.move_to_location(round(to_x), round(to_y)), lambda p: p.pointer_up())

    def wheel(self, x, y, delta):
        ActionChains(self.driver).scroll_from_origin(ScrollOrigin.from_viewport(round(x), round(y)), 0, delta).perform()
        self.settle()

    def messages(self):
        """What the console has been told since the last time, errors of the page among it."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
