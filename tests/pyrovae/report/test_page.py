"""The page: what is inside it cannot break it, and it fetches nothing."""

import json
import re

from pyrovae.report.page import page


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
