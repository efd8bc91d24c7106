"""The report: what it says of any pair, and what it does in a browser."""

import base64
import io
import json
import re
import shutil
import sys
from collections import Counter

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from PIL import Image

from pyrovae.errors import CheckpointError
from pyrovae.guides import DeltaGuide, NormalGuide
from pyrovae.inference import decode, encode, fit
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.report import sections, write_report
from pyrovae.report.__main__ import command
from pyrovae.report.album import Camera
from pyrovae.report.page import page
from pyrovae.report.subject import Subject


def content(path):
    """The data inside a page."""
    return json.loads(re.search(r'id="report">(.*?)</script>', path.read_text(), re.DOTALL)[1])


def kinds(path):
    return Counter(section["kind"] for section in content(path)["sections"])


def sheet(album):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(album["source"].split(",")[1]))))


# ------------------------------------------------------------------------------------------------- pieces


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_holds_every_image(channels):
    x = torch.randint(256, (7, channels, 4, 5)) / 255
    album = Camera.of(x).album(x)
    pixels = sheet(album)
    for i, image in enumerate(x):
        top, left = 4 * (i // album["columns"]), 5 * (i % album["columns"])
        tile = pixels[top : top + 4, left : left + 5].reshape(4, 5, channels)
        np.testing.assert_array_equal(tile, (255 * image).round().permute(1, 2, 0).numpy())


def test_a_sheet_of_noise_keeps_its_budget():
    x = torch.rand(50, 3, 40, 30)
    album = Camera.of(x).album(x, budget=20_000)
    assert len(album["source"]) < 1.4 * 20_000
    assert album["width"] / album["height"] == pytest.approx(30 / 40, rel=0.1)


def test_pixels_beyond_the_unit_interval_span_black_to_white():
    x = torch.tensor([-2.0, 0.0, 2.0, 6.0]).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(sheet(Camera.of(x).album(x)), [[0, 64], [128, 255]])


def test_numbers_stay_numbers():
    x = torch.tensor([[1.23456, 2.0], [float("nan"), -1e-5]])
    album = Camera.of(x).album(x)
    assert album["kind"] == "numbers"
    assert album["names"] == ["x1", "x2"]
    assert album["values"][0] == [1.23, 2.0]
    long = Camera.of(torch.zeros(3, 5000)).album(torch.arange(15000.0).reshape(3, 5000))
    assert len(long["names"]) == len(long["values"][0]) <= 256


def test_no_string_can_end_the_script():
    title = "</script><script>alert(1)</script>"
    text = page({"title": title, "lead": "a & b <!-- x", "sections": [{"value": float("nan")}]})
    assert text.count("</script>") == 2
    inside = json.loads(re.search(r'id="report">(.*?)</script>', text, re.DOTALL)[1])
    assert inside == {"title": title, "lead": "a & b <!-- x", "sections": [{"value": None}]}


def test_the_page_names_no_address():
    text = page({"title": "", "lead": "", "sections": []})
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


# -------------------------------------------------------------------------------------------------- pairs


def test_every_pair_of_the_suite_has_a_report(representative, tmp_path):
    pair = representative
    before = torch.get_rng_state()
    path = write_report(pair.model, pair.guide, pair.batch, run=tmp_path, num_samples=30)
    assert torch.equal(torch.get_rng_state(), before)
    found = kinds(path)
    flat = [event for event in pair.latent.values() if len(event) == 1]
    assert not found["note"]
    assert found["map"] == sum(event[0] > 1 for event in flat)
    assert found["traversals"] == len(flat)
    assert found["gallery"] == 2 + found["estimates"]
    assert path.stat().st_size < 5e6


def test_a_point_mass_has_no_evidence_and_a_flat_prior_no_samples(tmp_path):
    model = VAE(priors.Flat(3), likelihoods.Normal((1, 4, 4), scale=1.0), MLP(3, (1, 4, 4), [5]))
    data = {"x": torch.rand(9, 1, 4, 4)}
    path = write_report(model, DeltaGuide(MLP((1, 4, 4), 3, [5])), data, run=tmp_path)
    assert kinds(path) == {"overview": 1, "gallery": 1, "note": 1, "map": 1, "traversals": 1}
    by_kind = {section["kind"]: section for section in content(path)["sections"]}
    assert "improper" in by_kind["note"]["message"]
    assert [tile[0] for tile in by_kind["overview"]["tiles"]] == ["distortion"]
    assert by_kind["map"]["prior"] == []


def test_functions_with_a_discrete_site_a_second_one_and_covariates(tmp_path):
    """A pair that is in no suite: plain functions, a label, a covariate, latents of two kinds."""

    def model(w, x=None, *, size=None):
        with pyro.plate("data", len(w), dim=-1):
            c = pyro.sample("c", dist.Categorical(torch.ones(3) / 3))
            u = pyro.sample("u", dist.Normal(c.float(), 1.0))
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = z.sum(-1, keepdim=True) + u.unsqueeze(-1) + w
            return pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(x, w):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("c", dist.Categorical(torch.ones(3) / 3))
            pyro.sample("u", dist.Normal(x.mean(-1), 1.0))
            pyro.sample("z", dist.Normal(x[..., :2] / 3, 0.8).to_event(1))

    data = {"x": torch.randn(12, 4), "w": torch.randn(12, 4)}
    path = write_report(model, guide, data, run=tmp_path, num_samples=30)
    found = kinds(path)
    assert not found["note"]
    assert (found["map"], found["traversals"], found["gallery"]) == (1, 1, 3)
    assert content(path)["title"] == "model and guide"


def test_sites_before_stay_and_sites_after_follow():
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            a = pyro.sample("a", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            b = pyro.sample("b", dist.Normal(2 * a, 1.0).to_event(1))
            c = pyro.sample("c", dist.Normal(3 * b, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(a + 10 * b + 100 * c, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            for name in "abc":
                pyro.sample(name, dist.Normal(x, 0.1).to_event(1))

    x = torch.randn(5, 2)
    subject = Subject.of(model, guide, {"x": x}, lambda batch: batch, (), 0)
    b = torch.randn(3, 2)
    torch.testing.assert_close(subject.decoded([4, 4, 1], b=b), x[[4, 4, 1]] + 310 * b)


def test_traversals_move_one_dimension_and_put_the_informative_ones_first(ppca):
    data = {name: tensor.float() for name, tensor in ppca.data(30).items()}
    loc, weight, covariance = ppca.loc.float(), ppca.weight.float(), ppca.covariance.float()

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z @ weight.T + loc, ppca.scale).to_event(1), obs=x)

    def guide(x):
        mean = (x - loc) @ ppca.regression.float().T * torch.tensor([0.01, 1.0])
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(mean, torch.tensor([1.0, covariance[1, 1].sqrt()])).to_event(1))

    subject = Subject.of(model, guide, data, lambda batch: batch, (), 0)
    found = sections.traversals(subject, "z")
    assert [dim["name"] for dim in found["dims"]] == ["z[1]", "z[0]"]
    assert found["dims"][0]["rate"] > found["dims"][1]["rate"] > -1e-6
    codes, steps = encode(model, guide, data)["z"], len(found["values"][0])
    start, moved = codes[0].clone(), found["values"][0][3]
    start[1] = moved
    shown = torch.tensor(found["album"]["values"][3])
    torch.testing.assert_close(shown, start @ weight.T + loc, rtol=0.02, atol=0.02)
    assert len(found["album"]["values"]) == len(found["bases"]) * 2 * steps


def test_the_map_decodes_the_plane_from_the_top_left(tmp_path):
    model = VAE(priors.StandardNormal(2), likelihoods.Normal((1, 3, 3), scale=0.5), MLP(2, (1, 3, 3), [5]))
    guide = NormalGuide(MLP((1, 3, 3), 4, [5]))
    data = {"x": torch.rand(20, 1, 3, 3), "y": torch.arange(20) % 3}
    subject = Subject.of(model, guide, data, lambda batch: batch, ("a", "b", "c"), 0)
    found = sections.latent_map(subject, "z")
    assert found["axes"] == ["z[0]", "z[1]"]
    assert found["labels"] == ["a", "b", "c"]
    torch.testing.assert_close(torch.tensor(found["points"]), encode(model, guide, data)["z"], rtol=1e-3, atol=1e-3)
    corner = decode(model, {"z": torch.tensor([[-found["half"], found["half"]]])})[0, 0]
    shown = sheet(found["grid"])[:3, :3] / 255
    camera = subject.camera
    wanted = ((corner - camera.low) / (camera.high - camera.low)).clamp(0, 1)
    np.testing.assert_allclose(shown, wanted.numpy(), atol=0.01)


# ------------------------------------------------------------------------------------------------ command


def test_a_folder_without_a_command_says_what_to_write(says, tmp_path):
    with says(CheckpointError, "no summary.json", "write_report(model, guide, data, run="):
        command(tmp_path, [])
    (tmp_path / "summary.json").write_text("{}")
    with says(CheckpointError, "names no script"):
        command(tmp_path, [])
    record = {"script": str(tmp_path / "gone.py"), "flags": [], "folder": "", "above": "."}
    (tmp_path / "summary.json").write_text(json.dumps({"command": record}))
    with says(CheckpointError, "gone.py", "load_weights"):
        command(tmp_path, [])


def test_the_command_runs_the_script_again_on_the_folder_where_it_is_now(tmp_path):
    script, run = tmp_path / "script.py", tmp_path / "runs" / "all" / "plain"
    script.touch()
    run.mkdir(parents=True)
    record = {"script": str(script), "flags": ["--latent", "2"], "folder": str(tmp_path), "above": ".."}
    (run / "summary.json").write_text(json.dumps({"command": record}))
    out = ["--out", str(tmp_path / "runs" / "all"), "--resume", "--report"]
    line = [sys.executable, str(script), "--latent", "2", "--quiet", *out]
    assert command(run, ["--quiet"]) == (line, str(tmp_path))


# ------------------------------------------------------------------------------------------------ browser


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
def test_it_opens_without_a_fault_on_every_screen(browser, which, width, dark, request):
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
    assert re.search("nearest datum, number [0-9]+, label (low|mid|high)", one(browser, ".nearest").text)


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


def test_sliders_walk_along_a_dimension(browser, images):
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


def test_curves_tell_their_values(browser, images):
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


def test_a_table_is_shown_as_numbers(browser, table):
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
