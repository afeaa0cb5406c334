"""check_report.py PAGE: exits with a message unless the page of `tandem report` is well-formed, loads nothing, runs nothing,
and names what a screen reader cannot see; prints its text."""
import html.parser
import re
import sys

VOID = {"meta", "line", "circle", "rect", "path"}
KNOWN = set("html head meta title style body header main section h1 h2 h3 h4 p ul li dl dt dd b small span div table caption thead tbody "
            "tr th td details summary figure figcaption article svg g line text path circle rect".split())
KEYS = set("lang charset name content http-equiv class id style scope role tabindex aria-label aria-labelledby aria-hidden "
           "viewbox transform x y x1 x2 y1 y2 cx cy r d width height".split())


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.labels, self.text, self.css, self.headings = [], set(), set(), [], "", []

    def handle_starttag(self, tag, attributes):
        keys = dict(attributes)
        assert tag in KNOWN, f"element <{tag}>"
        assert set(keys) <= KEYS, f"<{tag}> with {set(keys) - KEYS}"
        assert "url(" not in (keys.get("style") or "")
        assert tag != "th" or keys.get("scope") in ("col", "row"), "<th> without a scope"
        assert tag != "svg" or keys.get("aria-hidden") or (keys.get("role") == "img" and keys.get("aria-label"))
        assert tag != "div" or keys.get("class") != "scroll" or (keys.get("tabindex") == "0" and keys.get("aria-label"))
        if "id" in keys:
            assert keys["id"] not in self.ids, f"id {keys['id']} twice"
            self.ids.add(keys["id"])
        self.labels |= {keys["aria-labelledby"]} if "aria-labelledby" in keys else set()
        if tag in ("h1", "h2", "h3"):
            assert int(tag[1]) <= (self.headings or [0])[-1] + 1, f"<{tag}> after h{self.headings[-1]}"
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in VOID, f"<{tag}/>"
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.css += data
        else:
            self.text.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def mix(over, under, share):
    return "#" + "".join(f"{round(share * int(over[i:i + 2], 16) + (1 - share) * int(under[i:i + 2], 16)):02x}" for i in (1, 3, 5))


def check_themes(css):
    """WCAG 2.2 AA: 4.5 to 1 for text, 3 to 1 for marks; marks are drawn with an opacity of 0.85."""
    themes = [dict(re.findall(r"--(\w+):([^;}]+)", block)) for block in re.findall(r":root\{([^}]*)\}", css)]
    assert len(themes) == 2 and "prefers-color-scheme:dark" in css
    for theme in ({**themes[0]}, {**themes[0], **themes[1]}):
        heat = "#" + "".join(f"{int(part):02x}" for part in theme["heat"].split(","))
        grounds = [theme["ground"], theme["panel"]]
        for name in ("ink", "soft", "gain", "loss"):
            for ground in grounds:
                assert contrast(theme[name], ground) >= 4.5, f"{name} on {ground}"
        assert contrast(theme["ink"], mix(heat, theme["ground"], 0.5)) >= 4.5, "ink on heat"
        for name in ("s0", "s1", "s2", "s3", "s4"):
            assert contrast(mix(theme[name], theme["panel"], 0.85), theme["panel"]) >= 3, f"{name} on the panel"
    assert "url(" not in css and "@import" not in css


source = open(sys.argv[1], encoding="utf-8").read()
assert source.startswith("<!DOCTYPE html>\n<html lang=\"en\">")
assert "default-src 'none'" in source
page = Page()
page.feed(source)
page.close()
assert not page.open, f"left open: {page.open}"
assert page.labels <= page.ids, f"no such id: {page.labels - page.ids}"
check_themes(page.css)
print("".join(page.text))
