"""Text of any code page as UTF-8: by its mark, else by which reading looks like written words."""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from lockstep.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks; that of UTF-32 begins like that of UTF-16."""

_HANGUL = (
    "이다는에의가을를고하은로도인지한사기자대리시서스나해보아어정수그라일부전원제성구동주상장"
    "유경산울광천남북강안포양용호우신영화진미조선민김박최여관공학교소무국과중등급없음있보통높낮"
    "종목간면읍군성별연령세월년금액명번"
)
_KANA = "".join(map(chr, range(0x3041, 0x3097))) + "".join(map(chr, range(0x30A1, 0x30FE)))
_HANZI = (
    "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学"
    "对可里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面"
    "公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情"
    "部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北"
    "少关并内加化由却代军产入先山五太水万市上广州深圳京津沪渝省区县男性别龄是否良优差红绿蓝黄白黑"
)
_HANZI_TRADITIONAL = (
    "的一是不了在人有我他這中大來上國個到說們為子和你地出道也時年得就那要下以生會自著去之過家學"
    "對可裡後小麼心多天而能好都然沒日於起還發成事只作當想看文無開手十用主行方又如前所本見經頭面"
    "公同三已老從動兩長知民樣現分將外但身些與高意進把法此實回二理美點月明其種聲全工己話兒者向情"
    "部正名定女問力機給等幾很業最間新什打便位因重被走電四第門相次東政海口使教西再平真聽世氣信北"
    "少關並內加化由卻代軍產入先山五太水萬市台臺灣高雄新竹桃園男性別齡是否良優差紅綠藍黃白黑區縣"
)
_KANJI = (
    "日一国人年大十二本中長出三時行見月分後前生五間上東四今金九入学高円子外八六下来気小七山話"
    "女北午百書先名川千水半男西電校語土木聞食車何南万毎白天母火右読友左休父雨京都府県市区町村"
    "阪道神奈愛知福岡広島新潟静性別齢不明良可"
)


_RUSSIAN = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"
_UKRAINIAN = "оаинвіертсклдумпязбьгчйжшхцюєїщґф"
_BULGARIAN = "аоиетнрсвлкдпмъузгябчйжшцщхфюь"
_GREEK = "αοειτνσςρκπμλυήίόάδγέθχηωύώφβξζψϊϋ"
_ARABIC = "اليمنوترةبعسدفهكقحجشطصخأزذثضظغءئإؤآىپچژگ"
_HEBREW = "יולהאמרתבנשעדחקפםגכטסןצזךףץ"
_THAI = "านรอกเงมยลวดทสตะปบคหแจพชขใไผโ่้ิีัุูื็์ึ"
_WESTERN = (
    "éèàêçâîôùûëïœüÿæ",  # French
    "üäößé",  # German
    "óáíñéúü",  # Spanish
    "ãáçéíóêõâúàôü",  # Portuguese
    "àèòùéì",  # Italian
    "äöåøæéü",  # Nordic
    "àéóèíúçïòü",  # Catalan
    "éëïüèö",  # Dutch
    "íáðþéóúæöý",  # Icelandic
    "šžäöõü",  # Estonian
)
_CENTRAL = (
    "łąężóśćńź",  # Polish
    "íáěéřčžýšůúťďňó",  # Czech
    "áíčžýšéúľťňôďóäŕĺ",  # Slovak
    "áéöóőíüúű",  # Hungarian
    "ăîâţşțș",  # Romanian
    "čšžćđ",  # Croatian, Slovene
)
_TURKISH = ("ıişüğçöâîİI",)
_BALTIC = ("ėšųąžįęūč", "āīēšņūļķžģčõ", "äõüöšž")


@dataclass(frozen=True)
class CodePage:
    """A code page: Python's codec, its name for people, and letters of its languages.

    The letters of a language are in the order of their frequency; ``prior`` is how usual the page
    is itself, in units of a score. Frequent signs of words have their first byte in ``lead``.
    """

    codec: str
    name: str
    languages: tuple[dict[str, float], ...]
    prior: float
    lead: tuple[int, int] = (0, 0)

    def usual(self, sign: str, language: dict[str, float]) -> float:
        """Return how usual a letter is in one of the languages, from -0.2 to 1."""
        first = sign.encode(self.codec)[0] if sign not in language and self.lead[0] else 0
        return language.get(sign, 0.4 if self.lead[0] <= first <= self.lead[1] and first else -0.2)


def _page(
    codec: str,
    name: str,
    languages: tuple[str, ...],
    prior: float = 0.0,
    lead: tuple[int, int] = (0, 0),
) -> CodePage:
    return CodePage(codec, name, tuple(_usual(letters) for letters in languages), prior, lead)


def _usual(letters: str) -> dict[str, float]:
    """Return how usual each letter is: 1 for the most frequent; signs of words are all the same."""
    if len(letters) > MOST_LETTERS:
        return dict.fromkeys(letters, 0.9)
    slope = 4 if len(letters) < 20 else 24
    usual = {letter: 1 / (1 + rank / slope) for rank, letter in enumerate(letters)}
    return {letter.upper(): value for letter, value in usual.items()} | usual


MOST_LETTERS = 45
"""Letters of an alphabet at most; more are syllables, or signs of words."""
CODE_PAGES = (
    _page("cp1252", "Windows-1252", _WESTERN, 0.1),
    _page("latin-1", "ISO 8859-1", _WESTERN),
    _page("cp1250", "Windows-1250", _CENTRAL),
    _page("cp1251", "Windows-1251", (_RUSSIAN, _UKRAINIAN, _BULGARIAN)),
    _page("cp1253", "Windows-1253", (_GREEK,)),
    _page("cp1254", "Windows-1254", _TURKISH),
    _page("cp1255", "Windows-1255", (_HEBREW,)),
    _page("cp1256", "Windows-1256", (_ARABIC,)),
    _page("cp1257", "Windows-1257", _BALTIC, -0.05),
    _page("cp874", "Windows-874", (_THAI,), -0.1),
    _page("koi8-r", "KOI8-R", (_RUSSIAN,)),
    _page("iso8859-2", "ISO 8859-2", _CENTRAL),
    _page("iso8859-15", "ISO 8859-15", _WESTERN),
    _page("cp850", "DOS 850", _WESTERN, -0.1),
    _page("cp852", "DOS 852", _CENTRAL, -0.1),
    _page("cp866", "DOS 866", (_RUSSIAN,), -0.1),
    _page("mac-roman", "Mac Roman", _WESTERN, -0.1),
    _page("cp949", "EUC-KR", (_HANGUL,), 0.1, (0xB0, 0xC8)),
    _page("cp932", "Shift_JIS", (_KANA + _KANJI,), 0.1, (0x88, 0x97)),
    _page("euc_jp", "EUC-JP", (_KANA + _KANJI,), 0.05, (0xB0, 0xCF)),
    _page("gb18030", "GB18030", (_HANZI,), 0.1, (0xB0, 0xD7)),
    _page("cp950", "Big5", (_HANZI_TRADITIONAL,), 0.05, (0xA4, 0xC6)),
)
"""What a file without a mark that is no UTF-8 may be; of equals the first is taken."""

_COMPOSED = bytes([*range(0xCC), 0xD0, 0xD1, 0xE2, *range(0xE4, 0xEA), *range(0xF5, 0x100)])
"""The bytes of UTF-8 of letters that are one sign: Latin, Cyrillic, Chinese; and of E2's signs."""
_TAKEN_APART = re.compile(
    rb"\xe2(?:\x80[\x80\x81]|\x83[\x90-\xbf]|\x84[\xa6\xaa\xab]|\x8c[\xa9\xaa]"
    rb"|\xab\x9c|\xb3[\xaf-\xb1]|\xb5\xbf|\xb7[\xa0-\xbf])"
)
"""Signs between U+2000 and U+2FFF that another one stands for, or that join the one before."""
_NO_CONTINUATION = bytes([*range(0x80), *range(0xC0, 0x100)])
_NO_LEAD = bytes(range(0xC0))
_NO_CONTROLS = bytes([*range(0x80), *range(0xA0, 0x100)])
"""Bytes but those that continue a letter of UTF-8, that begin one, that control in ISO 8859-1."""
_PADDING = b"\x00\x1a"
"""What some tools put behind a text: zeros, and the end of file of DOS."""
_BEGINS, _WORDS, _CLOSE, _LEAST = (1 << 16, 1 << 20), 200, 0.15, 0.15
"""Bytes looked at first; words judged at most; a difference of scores that tells nothing; the
least score of a plausible reading."""
_LINES = 10_000
_MONEY = "€£¥₩₽₺"
_WORD = re.compile(rb"[^\x00-\x1f,;|\"]*[\x80-\xff][^\x00-\x1f,;|\"]*")


@dataclass(frozen=True)
class Decoded:
    """A file's text as UTF-8, its encoding, a cell that shows it, and the next likely reading."""

    content: bytes
    encoding: str = "UTF-8"
    example: str = ""
    other: str = ""
    other_example: str = ""

    @property
    def note(self) -> str:
        """What to say about the encoding; nothing for UTF-8."""
        return f"read as {self.encoding}, e.g. '{self.example}'" if self.example else ""

    @property
    def question(self) -> str:
        """What to ask where another code page is about as plausible."""
        if not self.other:
            return ""
        return (
            f"the file is no UTF-8; it is read as {self.encoding} ('{self.example}'), as "
            f"{self.other} it would be '{self.other_example}': if that is right, save it as UTF-8"
        )


def decoded(content: bytes, name: str) -> Decoded:
    """Return a file's text as UTF-8 with composed letters; DataError where that can't be told."""
    found = _by_mark(content, name)
    if found is None:
        bare = content.rstrip(_PADDING)
        found = _utf8(bare, name) or _by_words(bare, name)
    return replace(found, content=_composed(found.content.rstrip(_PADDING)))


def _by_mark(content: bytes, name: str) -> Decoded | None:
    """Read UTF-16 and UTF-32 by their marks, or UTF-16 by the zeros in every second byte."""
    for mark, codec in _MARKS:
        if content.startswith(mark):
            bare = content[len(mark) :]
            return (
                Decoded(bare) if codec == "utf-8" and bare.isascii() else _wide(bare, codec, name)
            )
    begin = content[:4096].rstrip(_PADDING)
    if b"\x00" not in begin:
        return None
    even, odd, half = begin[::2].count(0), begin[1::2].count(0), len(begin) // 2
    if max(even, odd) > 0.6 * half and min(even, odd) < 0.1 * half:
        return _wide(content, "utf-16-le" if odd > even else "utf-16-be", name)
    raise DataError(f"{name} is no text (it holds bytes of zero); give the table as UTF-8 text")


def _wide(content: bytes, codec: str, name: str) -> Decoded:
    shown = codec.removesuffix("-le").removesuffix("-be").upper()
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        where = f"{name} is {shown}, but not at byte {error.start + 1}"
        raise DataError(f"{where}: it is truncated or damaged; save it as UTF-8") from None
    if shown == "UTF-8":
        return Decoded(content)
    example = text.lstrip().splitlines()[0][:40] if text.strip() else ""
    return Decoded(text.encode(), shown, example)


def _utf8(content: bytes, name: str) -> Decoded | None:
    """Return UTF-8 as it is; text that is UTF-8 but for a few bytes is a DataError."""
    if content.isascii():
        return Decoded(content)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            fix = "it is truncated; fetch or copy it again"
            raise DataError(f"{name} is UTF-8, but ends within a letter: {fix}") from None
        leads = len(content.translate(None, _NO_LEAD))
        if 2 * len(content.translate(None, _NO_CONTINUATION)) < leads:
            return None  # most letters lack what continues them: the count below takes longer
        text = content.decode("utf-8", "replace")
        bad = text.count("\ufffd")
        if len(text) - len(text.encode("ascii", "ignore")) > 4 * bad:
            line = content.count(b"\n", 0, error.start) + 1
            what = f"is UTF-8, but for {bad} bytes, the first in line {line}"
            raise DataError(f"{name} {what}: it mixes code pages; save it as UTF-8") from None
        return None
    return Decoded(content)


def _by_words(content: bytes, name: str) -> Decoded:
    """Read the text in the code page under which its words are the most plausible."""
    for size in (*_BEGINS, len(content)):
        words = _words(content[:size])
        if len(words) > _WORDS // 4:
            break
    readings = [(page, text) for page in CODE_PAGES if (text := _decode(words, page.codec))]
    scored = [(_score(text, page), page, text) for page, text in readings]
    scored.sort(key=lambda found: -found[0])  # a stable sort: of equals the earlier page is taken
    for score, page, text in scored:
        if score < _LEAST:
            break
        try:
            whole = _whole(content, page.codec)
        except UnicodeDecodeError:
            continue
        rivals = [found for found in scored if found[0] > score - _CLOSE and found[2] != text]
        return _told(whole, page, text, rivals)
    raise DataError(
        f"{name} is no UTF-8, and its code page can't be told by its words; save it as UTF-8"
    )


def _whole(content: bytes, codec: str) -> str:
    """Return a text decoded; without letters of Windows' own, ISO 8859-1 is the same and faster."""
    is_latin = codec == "cp1252" and not content.translate(None, _NO_CONTROLS)
    return content.decode("latin-1" if is_latin else codec)


def _words(content: bytes) -> list[bytes]:
    """Return the first different cells, or parts of them, that are not ASCII."""
    lines = islice((line for line in content.splitlines() if not line.isascii()), _LINES)
    return list(dict.fromkeys(_WORD.findall(b"\n".join(lines))))[:_WORDS]


def _told(
    whole: str, page: CodePage, text: list[str], rivals: list[tuple[float, CodePage, list[str]]]
) -> Decoded:
    """Return the text with an example; where another page is as likely, a word that differs."""
    content, shown = whole.encode(), _shown(text[0])
    if not rivals:
        return Decoded(content, page.name, shown)
    _, other, other_text = rivals[0]
    pairs = zip(text, other_text, strict=True)
    mine, theirs = next((a, b) for a, b in pairs if a != b)
    return Decoded(content, page.name, _shown(mine), other.name, _shown(theirs))


def _shown(word: str) -> str:
    return word.strip()[:40]


def _decode(words: list[bytes], codec: str) -> list[str] | None:
    """Return the words in a code page; None where it lacks a byte or has controls or blanks."""
    try:
        text = b"\n".join(words).decode(codec)
    except UnicodeDecodeError:
        return None
    is_odd = any(unicodedata.category(c) in ("Cc", "Co", "Cn") for c in {*text} - {"\n"})
    return None if is_odd and codec != "latin-1" else text.split("\n")


def _score(words: list[str], page: CodePage) -> float:
    """Return how plausible words are, in the language of the page that suits them best.

    That is the mean over their letters and signs beyond ASCII, from -3 to 1.
    """
    places = [(word, n) for word in words for n, sign in enumerate(word) if not sign.isascii()]
    scored = [(_shape_score(word, n), word[n]) for word, n in places]
    best = max(
        sum(shape or page.usual(sign, language) for shape, sign in scored)
        for language in page.languages
    )
    return best / max(len(scored), 1) + page.prior


def _shape_score(word: str, place: int) -> float:
    """Return from -3 to 1 how plausible a sign is where it stands; 0 if its letter must tell."""
    sign, before, after = word[place], word[:place][-1:], word[place + 1 :][:1]
    nearest = word[:place].rstrip()[-1:] + word[place + 1 :].lstrip()[:1]
    if sign in _MONEY and any(c.isdigit() for c in nearest):
        return 1.0
    if not sign.isalpha() and not unicodedata.category(sign).startswith("M"):
        return _symbol_score(sign, before, after)
    for other in (before, after):
        if other.isalpha() and _script(other) != _script(sign):
            return -3.0  # no language mixes letters within a word
    if (sign.isupper() and before.islower()) or (sign.islower() and after.isupper()):
        return -1.0
    is_latin = _script(sign) == "LATIN"
    if is_latin and all(c.isalpha() and not c.isascii() for c in (before, after)):
        return -1.0  # three letters with accents in a row are those of another alphabet
    return -0.3 if is_latin and (before.isdigit() or after.isdigit()) else 0.0


def _symbol_score(sign: str, before: str, after: str) -> float:
    """Return how plausible a sign is that is no letter, by its neighbours."""
    between = before.isalpha() and after.isalpha()
    if unicodedata.category(sign) in ("Cc", "Co", "Cn"):
        return -1.0
    if sign in "’":
        return 1.0 if before.isalpha() else 0.2
    if between:
        return -1.0
    beside = before + after
    if sign in "“„‘«":
        return 0.9 if after.isalnum() and not before.isalnum() else -0.5
    if sign in "”»":
        return 0.9 if before.isalnum() and not after.isalnum() else -0.5
    if sign in "–—…°§©®™²³µ\u00a0":
        return 0.7
    return -0.5 if any(c.isalpha() for c in beside) else -0.1


@lru_cache(maxsize=4096)
def _script(sign: str) -> str:
    """Return the first word of a sign's Unicode name, its script; Japanese words mix three."""
    script = unicodedata.name(sign, "?").split()[0]
    return "CJK" if script.startswith(("HIRAGANA", "KATAKANA")) else script


def is_composed(content: bytes) -> bool:
    """Return whether UTF-8 has composed letters (NFC) by a quick look; False may mean either."""
    if content.isascii():
        return True
    return not content.translate(None, _COMPOSED) and not _TAKEN_APART.search(content)


def _composed(content: bytes) -> bytes:
    """Return UTF-8 with composed letters (NFC)."""
    if is_composed(content):
        return content
    text = content.decode()
    if unicodedata.is_normalized("NFC", text):
        return content
    return unicodedata.normalize("NFC", text).encode()
