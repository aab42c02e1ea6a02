"""Encyclopedia: what a reader sees of wikitext, sentences and tokens, the tags of linked words, and the splits."""

import bz2
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from stages.core import wikipedia
from stages.core.base.errors import InputError
from stages.core.learning.dataset import SPLITS, Example, Prepared, write_prepared
from stages.core.wikipedia import label, paragraphs, sentences_of
from stages.datasets.encyclopedia import Settings, prepare

SENTENCE = "The [[nucleus]] of subject {0} is small and heavy. It holds {0} [[charge|charges]] in all."
SETTINGS = Settings(validation=0.25, test=0.25)


def page(title: str, text: str, space: int = 0, redirect: str = "") -> str:
    target = f'<redirect title="{redirect}" />' if redirect else ""
    revision = f"<revision><id>7</id><text>{escape(text)}</text></revision>"
    return f"<page><title>{title}</title><ns>{space}</ns><id>{len(title)}</id>{target}{revision}</page>"


def write(raw: Path, *pages: str) -> Path:
    """Write an export of forty articles, and the given pages after them."""
    many = [page(f"Subject {number}{'x' * number}", SENTENCE.format(number)) for number in range(40)]
    return write_bytes(raw, f'<mediawiki xmlns="urn:export">{"".join([*many, *pages])}</mediawiki>'.encode())


def write_bytes(raw: Path, content: bytes) -> Path:
    path = raw / wikipedia.FOLDER / wikipedia.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bz2.compress(content))
    return raw


def seen(wikitext: str) -> list[str]:
    """Give the text of each paragraph."""
    return [passage.text for passage in paragraphs(wikitext)]


def terms(wikitext: str) -> list[str]:
    """Give the labelled terms, their tokens joined by spaces."""
    found: list[list[str]] = []
    for sentence in sentences_of(wikitext):
        for token, tag in zip(*label(sentence), strict=True):
            if tag == "B-TERM":
                found.append([token])
            elif tag == "I-TERM":
                found[-1].append(token)
    return [" ".join(term) for term in found]


def tokens(text: str) -> list[str]:
    return [token for sentence in sentences_of(text) for token in label(sentence)[0]]


def examples(prepared: Prepared) -> list[Example]:
    return [example for split in SPLITS for example in prepared.splits[split]]


def reasons(prepared: Prepared) -> list[tuple[str, str]]:
    return [(found.reason, found.file.removeprefix(f"{wikipedia.FILE} article ")) for found in prepared.rejected]


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("'''Bold''', ''thin'' and '''''both''''' words.", "Bold, thin and both words."),
        (
            "A claim.<ref name=a>{{cite web|url=http://a.b|title=T}}</ref> More<ref name=a/> text.",
            "A claim. More text.",
        ),
        ("One ends.<ref>A note.</ref>Another begins.", "One ends. Another begins."),
        ("See [http://a.b the site] of [[A (b)|A]]s.", "See the site of As."),
        ("Between&nbsp;1 &amp; 2&ndash;3 <!-- hidden --> lie points.", "Between 1 & 2–3 lie points."),
        ("Water is H<sub>2</sub>O and 10<sup>6</sup> is a million.", "Water is H₂O and 10⁶ is a million."),
        ("A [[File:a.jpg|thumb|A [[caption]] here]]picture.[[Category:Pictures]]", "A picture."),
        ("Ayn ({{IPAc-en|aɪn}}; born 1905) and Bo ({{IPA|b}}) wrote.", "Ayn (born 1905) and Bo wrote."),
        (
            "It is {{convert|5|to|10|km|mi|abbr=on}} off, {{convert|6|ft|2|in|m}} high.",
            "It is 5 to 10 km off, 6 ft 2 in high.",
        ),
        ("{{As of|2014|4}}, {{as of|2015|lc=y}} and ''{{lang|fr|mot}}''.", "As of April 2014, as of 2015 and mot."),
        ("Salt {{chem|NH|4|+}}, {{frac|1|2|3}}, {{frac|3}} and {{nowrap|1=a b}}.", "Salt NH₄⁺, 1 2/3, 1/3 and a b."),
        ("Doubted.{{citation needed|date=May 2015}} Noted.{{rp|12}}{{sfn|Doe|2001}}", "Doubted. Noted."),
        ("Hard\nwrapped lines.", "Hard wrapped lines."),
    ],
)
def test_one_sees_what_a_reader_sees(wikitext: str, text: str) -> None:
    assert seen(wikitext) == [text]


def test_only_paragraphs_are_read() -> None:
    wikitext = """{{Infobox thing | name = {{nowrap|A thing}}
| other = [[that]] }}
First paragraph.
== Heading ==
{{Main|Other article}}
* An item with a [[link]].
# A numbered one.
: An indented line.
; A term: its meaning.
{| class="wikitable"
| A cell || [[Another]]
|}
<gallery>
File:a.jpg|A caption.
</gallery>
Second paragraph.<blockquote>A quotation.</blockquote>
{{quote|Quoted words.|Author}}
== See also ==
Not read.
=== Below it ===
Not read either.
== Afterwards ==
Last paragraph."""
    assert seen(wikitext) == [
        "First paragraph.",
        "Second paragraph.",
        "A quotation.",
        "Quoted words.",
        "Last paragraph.",
    ]


def test_the_words_that_a_reader_sees_in_a_link_are_the_term() -> None:
    assert terms("The [[United States]] and [[Isaac Newton|Newton]] met.") == ["United States", "Newton"]
    assert terms("Both [[law]]s, ''[[the Sun]]'' and '''[[Mercury (planet)|Mercury]]'''.") == [
        "laws",
        "the Sun",
        "Mercury",
    ]
    assert terms("An ''[[Iliad|old ''and'' long tale]]'' and {{nowrap|[[two words]]}}.") == [
        "old and long tale",
        "two words",
    ]
    assert terms("Neighbours [[one]] [[two]] differ.") == ["one", "two"]


def test_links_to_no_article_are_plain_words() -> None:
    links = (
        "[[wikt:word|word]] [[:Category:A|group]] [[#Below|below]] [[fr:Mot]] [[1945]] [[Alien: Film|film]] [[CSI: NY]]"
    )
    assert seen(f"Some {links} here.") == ["Some word group below 1945 film CSI: NY here."]
    assert terms(f"Some {links} here.") == ["film", "CSI : NY"]


def test_tags_are_bio_and_belong_to_their_tokens() -> None:
    (sentence,) = sentences_of("[[Max Planck]]'s [[black-body]] work.")
    assert label(sentence) == (
        ["Max", "Planck", "'s", "black", "-", "body", "work", "."],
        ["B-TERM", "I-TERM", "O", "B-TERM", "I-TERM", "I-TERM", "O", "O"],
    )


def test_tokens_do_not_tell_where_links_are() -> None:
    linked = "The non-[[linear]] [[System|system's]] anti[[body]] of [[U.S. law]], [[Côte d'Ivoire]]n 1,000.5 m."
    plain = "The non-linear system's antibody of U.S. law, Côte d'Ivoiren 1,000.5 m."
    assert tokens(linked) == tokens(plain)
    assert tokens(plain)[-10:] == ["antibody", "of", "U.S.", "law", ",", "Côte", "d'Ivoiren", "1,000.5", "m", "."]
    assert "antibody" in terms(linked)


@pytest.mark.parametrize(
    "sentences",
    [
        ["It ends.", "Another begins!", "Does it?", "It does."],
        ["Dr. Adams met J. R. Smith in St. Louis on Jan. 5."],
        ['He said so."', "Then (as ever) he left.)", "(He came back.)"],
        ["They moved to the U.S. Army base.", "They left the U.S.", "The end came."],
        ["It is modern art.", "No. 5 of vol. 2 is not.", "She knew (cf. Plato, c. AD 50) nothing."],
        ["It cost 3.5 million, i.e. a lot.", "5 of them remained."],
    ],
)
def test_a_sentence_ends_where_a_reader_ends_it(sentences: list[str]) -> None:
    assert [sentence.text for sentence in sentences_of(" ".join(sentences))] == sentences


def test_a_link_is_never_cut() -> None:
    (sentence,) = sentences_of("They saw [[Who Is It? The Film]] there.")
    assert [sentence.text[start:end] for start, end in sentence.links] == ["Who Is It? The Film"]


def test_links_keep_their_place_in_later_sentences() -> None:
    first, second = sentences_of("An [[apple]] fell. A [[pear]] and a [[plum]] did not.")
    assert [first.text[start:end] for start, end in first.links] == ["apple"]
    assert [second.text[start:end] for start, end in second.links] == ["pear", "plum"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The value <math>x</math> is small for [[reasons]] unknown.", "formula or program"),
        ("Some {{unheard of|5}} things have [[reasons]] unknown.", "template whose text is unknown"),
        ("A note stands at http://a.b for [[reasons]] unknown.", "bare address"),
        ("A note <ref>never ends for [[reasons]] unknown.", "left-over markup"),
        ("they began in small letters for [[reasons]] unknown.", "no sentence"),
        ("This has no end for [[reasons]] unknown", "no sentence"),
        ("For [[reasons]].", "fewer than 5 tokens"),
        (f"A {'very ' * 100} long one has [[reasons]].", "more than 100 tokens"),
        ("This one says nothing of any term.", "without a link"),
        (SENTENCE.format(3).partition(". ")[0] + ".", "duplicate"),
    ],
)
def test_a_sentence_that_cannot_be_used_is_counted_and_named(tmp_path: Path, text: str, reason: str) -> None:
    prepared = prepare(write(tmp_path, page("Odd", f"The [[first]] sentence is kept.\n\n{text}")), SETTINGS)
    odd = [example for example in examples(prepared) if example["article"] == "Odd"]
    assert [" ".join(example["tokens"]) for example in odd] == ["The first sentence is kept ."]
    assert (reason, "'Odd' sentence 2") in reasons(prepared)


def test_sentences_without_a_link_can_be_kept(tmp_path: Path) -> None:
    raw = write(tmp_path, page("Odd", "This one says nothing of any term."))
    kept = prepare(raw, Settings(validation=0.25, test=0.25, unlinked=True))
    assert [ex["tags"] for ex in examples(kept) if ex["article"] == "Odd"] == [["O"] * 8]


def test_pages_that_are_no_articles_are_counted_and_named(tmp_path: Path) -> None:
    pages = [
        page("Moved", "#REDIRECT [[Subject]]", redirect="Subject"),
        page("Help:Writing", "How to write an [[article]] well.", space=12),
        page("Many", "Many things have this [[name]] here. {{disambiguation}}"),
    ]
    prepared = prepare(write(tmp_path, *pages), SETTINGS)
    assert reasons(prepared) == [
        ("redirect", "'Moved'"),
        ("page about the encyclopedia", "'Help:Writing'"),
        ("list of meanings", "'Many'"),
    ]
    assert len(examples(prepared)) == 80


def test_an_article_lies_in_one_split(tmp_path: Path) -> None:
    prepared = prepare(write(tmp_path), SETTINGS)
    split_of_article: dict[str, str] = {}
    for split in SPLITS:
        assert prepared.splits[split]
        for example in prepared.splits[split]:
            assert example["key"] == example["article"]
            assert split_of_article.setdefault(example["article"], split) == split
    assert len({example["id"] for example in examples(prepared)}) == len(examples(prepared))
    assert sum(prepared.facts["articles"].values()) == len(split_of_article) == 40
    write_prepared(prepared, tmp_path)


def test_an_unreadable_file_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"shortened\.bz2 does not exist"):
        prepare(tmp_path, SETTINGS)
    with pytest.raises(InputError, match="is not XML"):
        prepare(write_bytes(tmp_path, b"<mediawiki><page>"), SETTINGS)
    with pytest.raises(InputError, match="holds no article"):
        prepare(write_bytes(tmp_path, b"<mediawiki></mediawiki>"), SETTINGS)
    path = write(tmp_path) / wikipedia.FOLDER / wikipedia.FILE
    whole = path.read_bytes()
    for broken in (whole[:300], b"no archive"):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="is no readable bzip2 file"):
            prepare(tmp_path, SETTINGS)
    path.write_bytes(whole)
    monkeypatch.setattr(wikipedia, "LARGEST", 1000)
    with pytest.raises(InputError, match="more than 1000 bytes"):
        prepare(tmp_path, SETTINGS)
