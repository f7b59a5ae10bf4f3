"""What Markdown becomes, and what can never come out of it."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations import markdown
from conversations.markdown import highlight, render

ALLOWED_ATTRIBUTES = {
    "a": {"href", "title", "target", "rel"},
    "ol": {"start", "class"},
    "input": {"type", "checked", "disabled", "class", "aria-label"},
    **{tag: {"class"} for tag in ("div", "pre", "code", "span", "ul", "li", "th", "td")},
}
ALLOWED_TAGS = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre"),
    *("code", "em", "strong", "s", "a", "table", "thead", "tbody", "tr", "th", "td", "div"),
    *("span", "input"),
}
VOID = {"br", "hr", "input"}
REL = "noopener noreferrer nofollow ugc"


class Page(HTMLParser):
    """Reads HTML as a browser's tokenizer does, and holds it against the rules."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"unclosed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED_TAGS, tag
        names = {name for name, _ in attrs}
        assert names <= ALLOWED_ATTRIBUTES.get(tag, set()), (tag, attrs)
        self.tags.append(tag)
        if tag == "a":
            values = dict(attrs)
            assert "a" not in self._open, "a link within a link"
            assert values["rel"] == REL
            assert values["target"] == "_blank"
            href = values["href"] or ""
            assert href.startswith(("http://", "https://", "mailto:")), href
            self.links.append(href)
        if tag == "input":
            assert {"type": "checkbox", "disabled": ""}.items() <= dict(attrs).items()
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)


def code_block(language: str, code: str) -> str:
    return (
        f'<div class="code"><div class="code-bar"><span>{language}</span></div>'
        f'<pre><code class="highlight">{code}</code></pre></div>\n'
    )


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("", ""),
        ("*a* **b** ~~c~~ `d`", "<p><em>a</em> <strong>b</strong> <s>c</s> <code>d</code></p>\n"),
        ("# a\n\nb\n===", "<h1>a</h1>\n<h1>b</h1>\n"),
        ("3. a\n4. b", '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>\n'),
        ("a  \nb\nc", "<p>a<br>\nb\nc</p>\n"),
        ("<b>a</b> &amp; &lt;", "<p>&lt;b&gt;a&lt;/b&gt; &amp; &lt;</p>\n"),
        ("a\rb\r\nc\0\ud800", "<p>a\nb\nc\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}</p>\n"),
        ("manage.py, README.md and a@b.example", "<p>manage.py, README.md and a@b.example</p>\n"),
    ],
)
def test_text_becomes_html(text: str, html: str) -> None:
    assert render(text) == html


def test_a_table_stands_in_a_scrolling_box_with_its_alignment_as_classes() -> None:
    html = render("| a | b |\n|:-:|--:|\n| 1 | 2 |")
    assert html.startswith('<div class="table"><table>\n<thead>')
    assert html.endswith("</tbody>\n</table></div>\n")
    assert '<th class="align-center">a</th>' in html
    assert '<td class="align-right">2</td>' in html


def test_checkboxes_of_a_task_list_cannot_be_clicked() -> None:
    html = render("- [ ] open\n- [x] done")
    assert html.count('<li class="task-list-item"><input ') == 2
    assert html.count(' disabled=""') == 2
    assert html.count(' aria-label="Task"') == 2
    assert html.count(' checked=""') == 1
    Page(html)


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("[a](https://b.example/c)", ["https://b.example/c"]),
        ("<https://b.example> https://c.example/d", ["https://b.example", "https://c.example/d"]),
        ("[a](mailto:b@c.example)", ["mailto:b@c.example"]),
        ("[a]\n\n[a]: http://b.example 'title'", ["http://b.example"]),
        ("[![in](https://i.example/a.png)](https://b.example)", ["https://b.example"]),
        ("[a](/b) [a](b.md) [a](#b) [a](?b) [a]()", []),
        ("[a](//evil.example) [a](/\\evil.example) [a](https:/b) //evil.example", []),
        ("[a](ftp://b.example) [a](tel:1) [a](file:///etc/passwd) ftp://b.example", []),
        ("[a]\n\n[a]: /b", []),
    ],
)
def test_only_absolute_web_and_mail_addresses_are_links(text: str, links: list[str]) -> None:
    assert Page(render(text)).links == links


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![alt *text*](https://i.example/a.png)", "alt text"),
        ("![](https://i.example/a.png 'title')", "i.example"),
        ("![alt][pic]\n\n[pic]: https://i.example/a.png", "alt"),
        ("![pic][]\n\n[pic]: https://i.example/a.png", "pic"),
        ("![pic]\n\n[pic]: https://i.example/a.png", "pic"),
        ("![out ![in](https://j.example/b.png)](https://i.example/a.png)", "out in"),
    ],
)
def test_an_image_is_never_loaded_but_linked(text: str, shown: str) -> None:
    page = Page(render(text))
    assert page.tags == ["p", "a"]
    assert page.text.strip() == shown
    assert page.links == ["https://i.example/a.png"]


IMAGE_SPELLINGS = [
    "![a]({url})",
    "![a](<{url}> 'title')",
    "![a][b]\n\n[b]: {url}",
    "![a][]\n\n[a]: {url}",
    "![a]\n\n[a]: <{url}>",
    "> - ![![a]({url})]({url})\n\n[x]: {url}",
    '<img src="{url}" onerror="alert(1)">',
    "<IMG SRC={url} ONERROR=alert(1)//",
]
HOSTILE_URLS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "&#106;avascript:alert(1)",
    "javascript&colon;alert(1)",
    "%6Aavascript:alert(1)",
    "\x01javascript:alert(1)",
    "data:text/html;base64,PHNjcmlwdD4=",
    "data:image/svg+xml,<svg onload=alert(1)>",
    "data:image/png;base64,AAAA",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "//evil.example/x",
    "\\\\evil.example\\x",
    "blob:https://a.example/1",
    'https://a.example/"onmouseover="alert(1)',
    "https://a.example/'onmouseover='alert(1)",
    "https://a.example/><script>alert(1)</script>",
]
HOSTILE_TEXTS = [
    "<script>alert(1)</script>",
    "<svg/onload=alert(1)>",
    "<svg><script href=//evil.example /></svg>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<div hx-get='/logout' hx-trigger='load' data-hx-post='/x' id='messages' style='color:red'>",
    "<a href='javascript:alert(1)' onclick=alert(1)>x</a>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=1'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]><?php echo 1 ?><!DOCTYPE html>",
    "</code></pre></div><script>alert(1)</script>",
    "**<b hx-get=/x>** `<b hx-get=/x>` ~~<b onclick=x>~~",
    "[a](https://a.example '\" onmouseover=\"alert(1)')",
    '[a](https://a.example "\' hx-get=/x")',
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;script&#62;",
    "# <style>*{display:none}</style>",
    "| <script> | <img src=x> |\n|---|---|\n| <svg onload=x> | </table><script> |",
    '```"><script>alert(1)</script>\n</code></pre><script>alert(1)</script>\n```',
    "```html\n<script>alert(1)</script>\n```",
    "~~~python hx-get=/x onclick=1\n'</span><script>'\n",
    "    <script>alert(1)</script>",
    "- [x] <input type=submit formaction=javascript:alert(1)>",
    "<form action=//evil.example><input name=password><button>",
    "<base href=//evil.example><meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example><object data=x><embed src=x>",
]


@pytest.mark.parametrize("wrap", ["{}", "> {}", "- {}", "1. a\n\n   {}", "a\n{}\nb", "**{}**"])
@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_text_stays_text(text: str, wrap: str) -> None:
    Page(render(wrap.replace("{}", text)))


@pytest.mark.parametrize("url", HOSTILE_URLS)
@pytest.mark.parametrize(
    "spelling", [*IMAGE_SPELLINGS, "[a]({url})", "[a]\n\n[a]: {url}", "<{url}>"]
)
def test_a_hostile_address_is_never_followed(spelling: str, url: str) -> None:
    page = Page(render(spelling.replace("{url}", url)))
    assert "img" not in page.tags
    for link in page.links:
        assert link.startswith(("https://a.example/", "http://a.example/")), link


def test_the_allow_list_holds_even_if_the_renderer_did_not() -> None:
    dirty = (
        '<p id="x" style="a" hx-get="/y" data-hx-get="/y" data-x="1" onclick="z" class="code">t</p>'
        '<img src="https://x.example/a.png"><a href="/relative">r</a><a href="//x.example">s</a>'
        '<span class="k evil">k</span><svg><script>1</script></svg><input type="text" name="n">'
    )
    clean = markdown._CLEANER.clean(dirty)
    for trace in ("id=", "style", "hx-", "data-", "onclick", "img", "evil", "svg", "1</", "name="):
        assert trace not in clean, trace
    assert "href" not in clean
    assert '<span class="k">' in clean


def test_code_is_highlighted_with_classes_and_named() -> None:
    html = render("```py title=x\ndef f(): return 'a' # b\n```")
    assert html.startswith(code_block("Python", "|").split("|")[0] + '<span class="k">def</span>')
    assert '<span class="s">\'a\'</span> <span class="c"># b</span>\n' in html
    assert "style" not in html


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("```\na < b\n```", code_block("Text", "a &lt; b\n")),
        ("    a\n", code_block("Text", "a\n")),
        ("~~~ nolang<b> x\na\n~~~", code_block("nolang&lt;b&gt;", "a\n")),
        ("```text\n\n a\n\n```", code_block("Text only", "\n a\n\n")),
        ("```" + "x" * 100 + "\na\n```", code_block("x" * 40, "a\n")),
    ],
)
def test_code_without_a_known_language_is_plain(source: str, html: str) -> None:
    assert render(source) == html


def test_highlighting_keeps_every_character_and_leaves_huge_code_alone() -> None:
    code = "\n\n\tx = 'é<&>\"' # \N{GRINNING FACE}  \n\n"
    assert Page(highlight(code, "python")).text == code
    assert "<span" in highlight("x = 1\n" * 1_000, "python")
    assert "<span" not in highlight("x = 1\n" * 10_000, "python")
    assert "<span" not in highlight("x = 1 + " * 1_000, "python")


def test_warm_up_knows_all_its_languages() -> None:
    markdown.warm_up()
    assert all(
        "<span" in highlight("if (x == '1') { # 2\n}\n[a]\nb=1 // <a>\n-x\nFROM a\n", name)
        for name in markdown.COMMON_LANGUAGES
    )


@pytest.mark.parametrize(
    "text",
    [
        ">" * 10_000 + "deep",
        "> " * 10_000 + "deep",
        "[" * 10_000 + "deep",
        "[" * 5_000 + "deep" + "]" * 5_000,
        "![" * 5_000 + "deep" + "](https://a.example)" * 5_000,
        "1. " * 10_000 + "deep",
        "".join(f"{'  ' * depth}- item\n" for depth in range(200)) + "deep",
        "*a **b " * 5_000 + "deep",
        "`" * 10_000 + "deep",
        "https://" * 5_000 + "deep",
        "|a" * 5_000 + "|\n" + "|-" * 5_000 + "|\ndeep",
        "| a |\n|---|\n" + "| b |\n" * 5_000 + "deep",
    ],
    ids=lambda text: text[:8],
)
@pytest.mark.timeout(300)
def test_pathological_text_is_shown_whole_and_in_time(text: str) -> None:
    assert "deep" in Page(render(text)).text


@pytest.mark.timeout(300)
def test_a_megabyte_is_rendered() -> None:
    text = ("Some words. " * 80 + "*End.*\n\n- item\n\n```\ncode\n```\n\n") * 1_000
    assert len(text) == 990_000
    assert render(text).count("<code") == render(text).count("<em>") == 1_000
    paragraph = "word *emphasis* " * 70_000  # too long for the inline rules
    assert render(paragraph) == f"<p>{paragraph.strip()}</p>\n"
    assert "<em>" in render(paragraph[:10_000])


def test_a_failure_of_the_parser_shows_the_text() -> None:
    class Failing(str):
        """A text whose parsing fails, as a bug would make it."""

        def endswith(self, *_: object) -> bool:
            raise RecursionError

    html = markdown.render_source(Failing("**a** <b>"), markdown.References())
    assert html == '<pre class="plain">**a** &lt;b&gt;</pre>\n'


def test_the_stack_of_the_caller_does_not_matter() -> None:
    def deeper(frames: int) -> str:
        return deeper(frames - 1) if frames else render("> - " * 12 + "![" * 18 + "deep")

    assert "deep" in deeper(600)


ATOMS = st.sampled_from(
    [
        *("\n", "\n\n", " ", "    ", "\t", "\r", "\0", "\ud800", "\u2028", "a", "<", ">", "&"),
        *("'", '"', "`", "```", "~~~", "[", "]", "(", ")", "![", "](", "[a]: ", "[a]", "\\", "|"),
        *("---", "=", "*", "**", "_", "~~", "- ", "1. ", "- [ ] ", "> ", "# ", "javascript:", "//"),
        *("data:", "https://a.example", "<script>", "<img src=x onerror=y>", "</p>", "<!--", "-->"),
        *("hx-get", "&#106;", "&lt;"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ATOMS, max_size=40).map("".join))
def test_whatever_the_text_the_html_keeps_the_rules(text: str) -> None:
    Page(render(text))
