"""Markdown to safe HTML, in one shot: parser, highlighter, allow-list.

CommonMark without raw HTML, plus tables, strikethrough, task lists and bare http(s) and mailto
links. What comes out is built from our own tags and passes an allow-list on top, so an error in the
renderer is not an attack. Only http, https and mailto make links; anything else stays the text it
was. Images are never loaded: they become links.

Everything here is local to a top-level block, apart from reference definitions: every limit below
counts within one block. `conversations.blocks` renders an answer piece by piece and relies on it.

Time is linear in the text: 0.7 µs a character for prose, up to 25 µs for hostile input such as
nothing but short list items. Parsers are per thread, so long texts may be rendered in another one.
"""

import html
import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, cast
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import unescapeAll
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock, blockquote, list_block, table
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments.lexer import Lexer
from pygments.lexers import get_all_lexers, get_lexer_by_name
from pygments.token import STANDARD_TYPES, _TokenType
from pygments.token import Token as Syntax

logger = logging.getLogger(__name__)

# A longer paragraph is shown as text: the inline rules are quadratic on hostile input.
INLINE_CHARS: Final = 20_000
# Two levels for a list, one for a quotation; what is deeper is shown as text, not left out.
CONTAINER_LEVELS: Final = 24
MAX_NESTING: Final = 32
TABLE_COLUMNS: Final = 100
TABLE_CELLS: Final = 20_000
# 64 kB of Python take 150 ms; regular expressions of lexers go wrong on very long lines.
HIGHLIGHT_CHARS: Final = 50_000
HIGHLIGHT_LINE_CHARS: Final = 5_000
LANGUAGE_CHARS: Final = 40

COMMON_LANGUAGES: Final = (
    *("bash", "c", "cpp", "csharp", "css", "diff", "docker", "go", "html", "ini", "java"),
    *("javascript", "json", "jsx", "kotlin", "make", "php", "powershell", "python", "r", "ruby"),
    *("rust", "sql", "swift", "toml", "tsx", "typescript", "xml", "yaml"),
)

CODE_FOOT: Final = "</code></pre></div>\n"


def render(text: str) -> str:
    """Markdown to sanitized HTML. Never raises: what cannot be parsed is shown as plain text."""
    return render_source(normalize(text), References())


def normalize(text: str) -> str:
    """Line ends to LF; NUL and lone surrogates, which no database or socket takes, to U+FFFD."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", _LINE_ENDS.sub("\n", text))


def warm_up(languages: Iterable[str] = COMMON_LANGUAGES) -> None:
    """Load parser and lexers ahead: the first import of a lexer costs 25 ms."""
    render("| a |\n|---|\n| **b** https://example.org |\n")
    for language in languages:
        highlight("x = 1", language)


class References(dict[str, Any]):
    """Reference definitions by label, which note the labels that were asked for in vain."""

    def __init__(self, known: Mapping[str, Any] | None = None) -> None:
        super().__init__(known or {})
        self.unknown: set[str] = set()

    def get(self, label: str, default: Any = None) -> Any:
        if label not in self:
            self.unknown.add(label)
        return super().get(label, default)


def parse(source: str, references: References) -> list[Token]:
    """Tokens of a normalized source; definitions found are added to `references`."""
    if not source.endswith("\n"):
        source += "\n"  # so that a fence's content has as many line ends as lines
    return _parser().parse(source, {"references": references})


def render_source(
    source: str, references: References, highlighted: dict[tuple[str, str], str] | None = None
) -> str:
    """The final HTML of a normalized source; `highlighted` keeps highlighted code for next time."""
    try:
        return render_tokens(parse(source, references), highlighted)
    except Exception:  # a bug of the parser must cost the formatting, not the answer
        logger.exception("markdown_failed chars=%d", len(source))
        return plain(source)


def render_tokens(
    tokens: Sequence[Token],
    highlighted: dict[tuple[str, str], str] | None = None,
    *,
    growing: bool = False,
) -> str:
    """Sanitized HTML of tokens. In a growing text open fences are not highlighted."""
    parser = _parser()
    env = {"highlighted": {} if highlighted is None else highlighted, "growing": growing}
    return _CLEANER.clean(parser.renderer.render(tokens, parser.options, env))


def plain(source: str) -> str:
    """The source itself, escaped."""
    return f'<pre class="plain">{html.escape(source)}</pre>\n'


def is_closed(fence: Token) -> bool:
    """Whether a fence token has its closing line."""
    start, end = fence.map or (0, 0)
    return end - start == fence.content.count("\n") + 2


def code_head(info: str) -> str:
    """The opening of a code block whose fence says `info`, up to its first character of code."""
    language = language_of(info)
    name = _names().get(language.lower()) or language[:LANGUAGE_CHARS] or "Text"
    label = html.escape(name, quote=False)
    bar = f'<div class="code-bar"><span>{label}</span></div>'
    return f'<div class="code">{bar}<pre><code class="highlight">'


def language_of(info: str) -> str:
    """The first word of a fence's info string."""
    return next(iter(unescapeAll(info).split()), "")


def highlight(code: str, language: str) -> str:
    """Escaped code, with spans of Pygments' classes where the language is known."""
    lexer = _lexer(language.lower(), code)
    too_long = len(code) > HIGHLIGHT_CHARS or any(
        len(line) > HIGHLIGHT_LINE_CHARS for line in code.split("\n")
    )
    if lexer is None or too_long:
        return html.escape(code, quote=False)
    parts: list[str] = []
    try:
        coloured = ((_css_class(kind), value) for kind, value in lexer.get_tokens(code))
        for css, run in groupby(coloured, key=itemgetter(0)):
            text = html.escape("".join(value for _, value in run), quote=False)
            parts.append(f'<span class="{css}">{text}</span>' if css else text)
    except Exception:  # a bug of a lexer must cost the colours, not the code
        logger.exception("highlight_failed language=%s chars=%d", language, len(code))
        return html.escape(code, quote=False)
    return "".join(parts)


class _Renderer(RendererHTML):
    """Our markup of code blocks and tables; the rest is markdown-it's."""

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        token = tokens[idx]
        if env["growing"] and not is_closed(token):
            code = html.escape(token.content, quote=False)
        else:
            key = (language_of(token.info), token.content)
            code = env["highlighted"].get(key)
            if code is None:
                code = env["highlighted"][key] = highlight(token.content, key[0])
        return code_head(token.info) + code + CODE_FOOT

    def code_block(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return code_head("") + html.escape(tokens[idx].content, quote=False) + CODE_FOOT

    def table_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return '<div class="table"><table>\n'

    def table_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        token = tokens[idx]
        style = str(token.attrGet("style") or "")  # a strict CSP refuses style attributes
        css = f' class="align-{style.removeprefix("text-align:")}"' if style else ""
        return f"<{token.tag}{css}>"

    td_open = th_open


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LINE_ENDS = re.compile(r"\r\n?")
_SAFE_LINK = re.compile(r"https?://[^/\s]|mailto:[^/\s]", re.IGNORECASE)

# The kinds of Pygments that get a span, with Pygments' own class; the others would only add weight.
_COLOURED: Final = (
    Syntax.Keyword,
    Syntax.Operator.Word,
    Syntax.Name.Function,
    Syntax.Name.Class,
    Syntax.Name.Builtin,
    Syntax.Name.Decorator,
    Syntax.Name.Exception,
    Syntax.Name.Tag,
    Syntax.Name.Attribute,
    Syntax.Literal.String,
    Syntax.Literal.Number,
    Syntax.Comment,
    Syntax.Generic.Deleted,
    Syntax.Generic.Inserted,
    Syntax.Generic.Heading,
    Syntax.Generic.Subheading,
    Syntax.Generic.Prompt,
)

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_CLEANER = nh3.Cleaner(
    tags={
        *("p", "br", "hr", *_HEADINGS, "ul", "ol", "li", "blockquote", "pre", "code", "em"),
        *("strong", "s", "a", "table", "thead", "tbody", "tr", "th", "td", "div", "span", "input"),
    },
    attributes={"a": {"href", "title"}, "ol": {"start"}, "input": {"checked"}},
    tag_attribute_values={"input": {"type": {"checkbox"}}},
    set_tag_attribute_values={
        "a": {"target": "_blank"},
        "input": {"disabled": "", "aria-label": "Task"},
    },
    allowed_classes={
        "div": {"code", "code-bar", "table"},
        "pre": {"plain"},
        "code": {"highlight"},
        "span": {STANDARD_TYPES[kind] for kind in _COLOURED},
        "ul": {"contains-task-list"},
        "ol": {"contains-task-list"},
        "li": {"task-list-item"},
        "input": {"task-list-item-checkbox"},
        "th": {"align-left", "align-center", "align-right"},
        "td": {"align-left", "align-center", "align-right"},
    },
    link_rel="noopener noreferrer nofollow ugc",
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    strip_comments=True,
)

_local = threading.local()


def _parser() -> MarkdownIt:
    """The parser of this thread: linkify-it keeps the state of a search on itself."""
    parser: MarkdownIt | None = getattr(_local, "parser", None)
    if parser is None:
        parser = _local.parser = _build_parser()
    return parser


def _build_parser() -> MarkdownIt:
    options = {"html": False, "linkify": True, "tasklists": True, "maxNesting": MAX_NESTING}
    parser = MarkdownIt("commonmark", options, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough", "linkify"])
    # Bare names are no links: manage.py and README.md would be, their endings are countries.
    bare = {"fuzzy_link": False, "fuzzy_email": False, "fuzzy_ip": False}
    cast(Any, parser.linkify).set(bare)
    parser.validateLink = _is_safe_link  # type: ignore[method-assign]  # the documented way
    alt = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.at("blockquote", _shallow(blockquote), {"alt": alt})
    parser.block.ruler.at("list", _shallow(list_block), {"alt": alt[:3]})
    parser.block.ruler.at("table", _small_table, {"alt": alt[:2]})
    parser.core.ruler.at("inline", _parse_inline)
    parser.core.ruler.after("linkify", "check_links", _check_links)
    return parser


def _is_safe_link(url: str) -> bool:
    """Whether the allow-list lets it be a link; what it would not stays the text it was."""
    return _SAFE_LINK.match(url) is not None and "href" in _CLEANER.clean(
        f'<a href="{html.escape(url)}"></a>'
    )


_BlockRule = Callable[[StateBlock, int, int, bool], bool]


def _shallow(rule: _BlockRule) -> _BlockRule:
    """A container rule that stops nesting: markdown-it would drop the text beyond maxNesting."""

    def limited(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        return state.level < CONTAINER_LEVELS and rule(state, start, end, silent)

    return limited


def _small_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A table of at most TABLE_CELLS cells; the rows after them become a paragraph."""
    columns = state.src.count("|", state.bMarks[start], state.eMarks[start]) + 1
    if columns > TABLE_COLUMNS:
        return False
    return table(state, start, min(end, start + 2 + TABLE_CELLS // columns), silent)


def _parse_inline(state: StateCore) -> None:
    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = []
        if len(token.content) <= INLINE_CHARS:
            state.md.inline.parse(token.content, state.md, state.env, token.children)
        else:
            text = Token("text", "", 0)
            text.content = token.content
            token.children.append(text)


def _check_links(state: StateCore) -> None:
    """Turn images into links, or within a link, which cannot hold another, into their text."""
    for block in state.tokens:
        children: list[Token] = []
        address = ""
        for token in block.children or ():
            if token.type == "link_open":
                address = str(token.attrGet("href") or "")
            if token.type == "image":
                children += _image_tokens(token, state, linked=address != "")
            elif address or token.type not in ("link_open", "link_close"):  # [a]() has no address
                children.append(token)
            if token.type == "link_close":
                address = ""
        if block.children:
            block.children = children


def _image_tokens(image: Token, state: StateCore, *, linked: bool) -> list[Token]:
    url = str(image.attrGet("src") or "")
    renderer = cast(RendererHTML, state.md.renderer)
    text = Token("text", "", 0)
    alt = renderer.renderInlineAsText(image.children, state.md.options, state.env)
    text.content = alt.strip() or _host(url)
    if linked or not _is_safe_link(url):
        return [text]
    attrs: dict[str, str | int | float] = {"href": url}
    return [Token("link_open", "a", 1, attrs=attrs), text, Token("link_close", "a", -1)]


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


@cache
def _names() -> dict[str, str]:
    """The languages' names by alias. Unknown ones must not reach Pygments' search for plug-ins."""
    return {
        alias.lower(): name
        for name, aliases, _, _ in get_all_lexers(plugins=False)
        for alias in aliases
    }


def _lexer(language: str, code: str) -> Lexer | None:
    if language not in _names() or _names()[language] == "Text only":
        return None
    inline = "<?" not in code  # PHP as people quote it, without its opening tag
    return get_lexer_by_name(language, stripnl=False, ensurenl=False, startinline=inline)


@cache
def _css_class(kind: _TokenType) -> str:
    known = (ancestor for ancestor in reversed(kind.split()) if ancestor in _COLOURED)
    return next((STANDARD_TYPES[ancestor] for ancestor in known), "")
