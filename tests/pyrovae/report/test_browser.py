"""The page in a browser: it draws itself without a fault, and pointers, keys and sliders work."""

import json
import re
import shutil

import pytest
import torch

from pyrovae.display import plus_minus
from pyrovae.guides import NormalGuide
from pyrovae.inference import fit
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.report import report_folder, write_report


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; its tests are skipped where it is not installed."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed: pip install 'pyrovae[dev]'"
    )
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A small trained pair of images with labels."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("images")
    model = VAE(priors.StandardNormal(3), likelihoods.Bernoulli((1, 6, 6), relaxed=True), MLP(3, (1, 6, 6), [16]))
    guide, y = NormalGuide(MLP((1, 6, 6), 6, [16])), torch.arange(60) % 3
    data = {"x": (torch.rand(60, 1, 6, 6) * 0.2 + 0.3 * y[:, None, None, None]).clamp(0, 1), "y": y}
    fit(model, guide, data, valid=data, epochs=4, run=folder, progress=False, compile=False)
    return write_report(model, guide, data, run=folder, classes=("low", "mid", "high"), num_samples=30)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A pair of a table of three columns."""
    torch.manual_seed(0)
    model = VAE(priors.StandardNormal(2), likelihoods.Normal((3,), scale=0.5), MLP(2, (3,), [8]))
    data = {"x": torch.randn(40, 3)}
    return write_report(
        model, NormalGuide(MLP((3,), 4, [8])), data, run=tmp_path_factory.mktemp("table"), num_samples=30
    )


def visit(browser, path, width=1200, dark=False):
    """Open a page at that width, and wait until it is drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})
    browser.get_log("browser")
    browser.get(path.as_uri())
    WebDriverWait(browser, 20).until(lambda b: b.execute_script("return document.documentElement.dataset.ready"))


def one(browser, selector):
    return browser.find_element("css selector", selector)


def move(browser, selector, across, down):
    """Put the pointer at a share of an element's width and height."""
    from selenium.webdriver import ActionChains

    element = one(browser, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    box = element.rect
    offset = round((across - 0.5) * box["width"]), round((down - 0.5) * box["height"])
    ActionChains(browser).move_to_element_with_offset(element, *offset).perform()


def press(browser, selector, *keys):
    browser.execute_script("document.querySelector(arguments[0]).focus()", selector)
    browser.switch_to.active_element.send_keys(*keys)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 360])
@pytest.mark.parametrize("which", ["images", "table"])
def test_it_opens_without_a_fault_on_every_screen(browser, which, width, dark, request, content):
    path = request.getfixturevalue(which)
    visit(browser, path, width, dark)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", paper)[:3])) < 150 if dark else paper == "rgb(255, 255, 255)"
    assert (
        browser.execute_script("return performance.getEntriesByType('resource').filter(e => e.name.startsWith('http'))")
        == []
    )
    links = [link.get_attribute("textContent") for link in browser.find_elements("css selector", "nav a")]
    assert links == [section["title"] for section in content(path)["sections"]]


def picture(browser, selector):
    return browser.execute_script("return document.querySelector(arguments[0]).toDataURL()", selector)


def test_the_pointer_changes_the_picture_on_the_map(browser, images):
    visit(browser, images)
    seen = set()
    for across, down in ((0.1, 0.1), (0.5, 0.5), (0.9, 0.2)):
        move(browser, ".plot", across, down)
        seen.add(picture(browser, ".here canvas"))
    assert len(seen) == 3
    assert re.search("nearest data point, number [0-9]+, label (low|mid|high)", one(browser, ".nearest").text)


def test_the_map_is_moved_by_keys_and_by_sliders(browser, images):
    from selenium.webdriver.common.keys import Keys

    visit(browser, images)
    words = [one(browser, ".here figcaption").text]
    press(browser, ".plot", Keys.ARROW_LEFT, Keys.ARROW_UP)
    words.append(one(browser, ".here figcaption").text)
    press(browser, ".map input[type=range]", Keys.HOME)
    words.append(one(browser, ".here figcaption").text)
    assert len(set(words)) == 3


def test_a_label_can_be_hidden(browser, images):
    visit(browser, images)
    for button in browser.find_elements("css selector", ".keys button")[1:]:
        button.click()
        assert button.get_attribute("aria-pressed") == "false"
    assert browser.find_elements("css selector", ".keys button")[0].text == "low"
    assert "label low" in one(browser, ".nearest").text


def test_sliders_walk_along_a_dimension(browser, images, content):
    from selenium.webdriver.common.keys import Keys

    visit(browser, images)
    seen = set()
    for key in (Keys.HOME, Keys.END):
        press(browser, ".dim input[type=range]", key)
        seen.add((picture(browser, ".dim > canvas"), one(browser, ".dim output").text))
    assert len({shown for shown, _ in seen}) == len({value for _, value in seen}) == 2
    values = next(s for s in content(images)["sections"] if s["kind"] == "traversals")["values"][0]
    assert {value for _, value in seen} == {f"{v:.2f}".replace("-", "−") for v in (values[0], values[-1])}


def test_another_datum_to_start_from_changes_the_traversals(browser, images):
    visit(browser, images)
    before = picture(browser, ".dim > canvas")
    one(browser, ".base select option[value='1']").click()
    assert picture(browser, ".dim > canvas") != before


def test_curves_tell_their_values(browser, images, content):
    from selenium.webdriver.common.keys import Keys

    visit(browser, images)
    losses = next(s for s in content(images)["sections"] if s["kind"] == "curves")["panels"][0]["series"][0]["values"]

    def told():
        shown = browser.find_elements("css selector", ".panel:first-child .legend b")
        return shown[0].text, float(shown[1].text)

    assert told() == ("4", pytest.approx(losses[3], rel=1e-4))
    move(browser, ".curve", 0.13, 0.5)
    assert told() == ("1", pytest.approx(losses[0], rel=1e-4))
    press(browser, ".curve", Keys.ARROW_RIGHT)
    assert told() == ("2", pytest.approx(losses[1], rel=1e-4))


def test_a_table_is_shown_as_numbers(browser, table, content):
    visit(browser, table)
    x = next(s for s in content(table)["sections"] if s["kind"] == "gallery")["album"]["values"]
    row = one(browser, "[data-kind=gallery] tbody tr")
    assert [float(cell.text.replace("−", "-")) for cell in row.find_elements("css selector", "td")] == x[0]
    before = one(browser, ".here").text
    move(browser, ".plot", 0.2, 0.2)
    assert one(browser, ".here").text != before


def test_the_keyboard_reaches_everything(browser, images):
    visit(browser, images)
    unnamed = """return [...document.querySelectorAll('input, select, button, canvas, svg[role]')].filter(e =>
      !e.getAttribute('aria-label') && !e.textContent.trim() && !e.closest('label')).map(e => e.outerHTML)"""
    assert browser.execute_script(unnamed) == []
    reached = browser.find_elements("css selector", "input, select, button, .plot, .curve")
    assert all(int(element.get_property("tabIndex")) >= 0 for element in reached)


def test_two_keys_reach_the_map(browser, images):
    """The second link of the page goes to the map, which the arrow keys move at once."""
    from selenium.webdriver.common.keys import Keys

    visit(browser, images)
    body = one(browser, "body")
    body.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert "latent map" in browser.switch_to.active_element.text
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("class") == "plot"
    before = one(browser, ".here figcaption").text
    browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert one(browser, ".here figcaption").text != before


def test_a_page_without_a_map_has_no_link_to_it(browser, tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"data": "toy: 3"}))
    visit(browser, report_folder(tmp_path)[0])
    assert [
        link.is_enabled() and link.get_property("hidden") for link in browser.find_elements("css selector", ".skip")
    ] == [
        False,
        True,
    ]


@pytest.mark.parametrize("width", [1200, 360])
def test_ticks_can_be_read(browser, images, width):
    """At least eight pixels high on a phone, ten on a desk; none over another; as many decimals as it takes."""
    visit(browser, images, width)
    boxes = browser.execute_script(
        """return [...document.querySelectorAll('.curve, .chart svg, .plot')].map(plot =>
        [...plot.querySelectorAll('text')].map(text => {
          const box = text.getBoundingClientRect();
          return [box.left, box.right, box.top, box.bottom, parseFloat(getComputedStyle(text).fontSize) *
            plot.getBoundingClientRect().width / plot.viewBox.baseVal.width, text.textContent];
        }))"""
    )
    assert len(boxes) > 5
    for texts in boxes:
        for i, (left, right, top, bottom, size, words) in enumerate(texts):
            assert size >= (10 if width > 400 else 8), words
            for other in texts[:i]:
                assert right <= other[0] or other[1] <= left or bottom <= other[2] + 3 or other[3] <= top + 3, (
                    words,
                    other,
                )


EVIL = "</script><script>window.evil=1</script><img src=x onerror=window.evil=1>'\"&<!-- content -->"


def test_strings_of_a_run_folder_are_text(browser, tmp_path):
    """A script in the name of a label, in settings or in the words of an error is shown, and not run."""
    torch.manual_seed(0)
    strings = {
        "data": EVIL,
        "transform": EVIL,
        "arguments": {EVIL: EVIL, "__proto__": EVIL},
        "machine": {"device": EVIL},
    }
    (tmp_path / "summary.json").write_text(json.dumps(strings | {"seconds": 1.0}))
    (tmp_path / "config.json").write_text(json.dumps({"model": f"{EVIL}\n", "guide": EVIL}))
    (tmp_path / "metrics.json").write_text(json.dumps({EVIL: EVIL}))
    model = VAE(priors.StandardNormal(2), likelihoods.Bernoulli((1, 6, 6), relaxed=True), MLP(2, (1, 6, 6), [8]))
    data = {"x": torch.rand(20, 1, 6, 6), "y": torch.arange(20) % 2}
    guide = NormalGuide(MLP((1, 6, 6), 4, [8]))
    for path in (
        report_folder(tmp_path)[0],
        write_report(model, guide, data, run=tmp_path, classes=(EVIL, EVIL), num_samples=10),
    ):
        visit(browser, path)
        assert browser.get_log("browser") == []
        assert browser.execute_script("return [window.evil, document.images.length]") == [None, 0]
        assert EVIL in browser.execute_script("return document.body.textContent")
        assert "'metrics.json' is broken" in one(browser, "main").text


@pytest.mark.parametrize("values", [[1e99, 1e99], [-1e99, 1e99], [None, None], [1e17, 1e17 + 64], [5e-324, 0]], ids=str)
@pytest.mark.parametrize("epoch", [1, 2**53 - 3])
def test_curves_of_any_numbers_are_drawn(browser, values, epoch, tmp_path):
    """Beyond 2^53 the next whole number is the same one, and a loop over ticks must end all the same."""
    rows = [{"epoch": epoch + i, "loss": float("nan") if v is None else v} for i, v in enumerate(values)]
    (tmp_path / "metrics.json").write_text(json.dumps(rows))
    visit(browser, report_folder(tmp_path)[0])
    assert browser.get_log("browser") == []
    assert one(browser, ".panel .legend b").text == str(epoch + 1)


@pytest.mark.parametrize("error", [0.009, 0.00949, 0.0996, 1.0, 12.34, 250.0, 3e-9, 0.0])
def test_an_error_has_the_digits_of_plus_minus(browser, images, error):
    visit(browser, images)
    shown = browser.execute_script(
        "return [fixed(-171.48, decimals(arguments[0])), errorText(arguments[0])].join(' ± ')", error
    )
    assert shown.replace("−", "-") == plus_minus(-171.48, error)
