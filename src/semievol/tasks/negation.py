"""Whether a label is only denied where it occurs: `not positive`, `kein Spam`, `"yes" would be wrong`, `긍정이 아니다`.

What stands between a negation and the label is of a closed set of words, so that `I do not know, but it is positive`
denies nothing. What is denied is no answer; the opposite is not concluded either.
"""

import re

_PLAIN = (
    r"not|non|never|neither|nor|without|hardly|scarcely|cannot|\w{1,12}n['’]t"
    r"|nicht|keine?[nmrs]?|keineswegs|keinesfalls|kaum|weder|ohne"
    r"|pas|jamais|aucune?|guère|sans|ni|niet|geen|inte|ikke|nie|nem|değil|não|tampoco|sin|не|нет|ليس|ليست|غير"
)
"""Words that deny what follows."""
_BETWEEN = (
    r"a|an|the|any|anything|something|as|at all|be|been|being|is|are|was|were|it|its|this|that|there|really|very"
    r"|clearly|so|too|quite|exactly|entirely|completely|fully|totally|truly|particularly|necessarily|actually|strictly"
    r"|overly|especially|remotely"
    r"|think|believe|say|consider|find|call|describe|classify|label|mark|rate|see|seem|look|appear|feel|sound|express"
    r"|show|convey|indicate|contain|reflect|have|mention|discuss|concern|involve|refer|talk|deal|related|about|with|on|for"
    r"|regarding|primarily|mainly|directly|specifically|belong|fall|under|in|into|to|of|text|review|tweet|message|sentence|post"
    r"|article|comment|statement|answer|sentiment|category|class|topic|tone|one|clear|sign|signs|evidence|explicit"
    r"|explicitly|would|could|should|will|can|do|does|i|we|you|he|she|they"
    r"|ein\w{0,2}|wirklich|sehr|ganz|gerade|unbedingt|besonders|eindeutig|als|vraiment|très|tout à fait|du tout|si"
    r"|particulièrement|est|c['’]est|un\w?|muy|realmente|é|está|foi|muito|realmente|è|davvero|molto|affatto|jest|bardzo"
)
"""Words that may stand between them, in any order."""
_ROMANCE = (
    r"no (?:es|está|era|fue|parece|resulta|son|hay)|não (?:é|está|foi|era|parece|há)|non (?:è|sembra|era|sono)|nie jest"
)
_BEFORE = re.compile(
    rf"(?:(?<!\w)(?:{_PLAIN}|{_ROMANCE})[\s\"'“”‘’«»*_`]+(?:(?:{_BETWEEN})[\s\"'“”‘’«»*_`]+){{0,8}}|non-|un-)\Z"
)
_NO = re.compile(
    r"(?<!\w)no\s(?:(?:clear|real|explicit|obvious|true|strong|overt|signs? of|evidence (?:of|for)|hint of|trace of)\s"
    r"(?:any\s)?){0,2}\Z"
)
"""`no` is an answer of its own where marks or the line's end follow, and a negation before a word."""
_UNSPACED = re.compile(
    r"(?:不是|并不|并非|不算|不太|不能说是|不能算|谈不上|称不上|不属于|不认为(?:它|这)?是|不应(?:该|当)?是|难说|不|非|没有|無|无|未)"
    r"(?:是|很|太|那么|特别|完全|真正)*[\"'“”‘’「」『』]?\Z"
)
_LABEL_SAID = r"[\s\"'“”‘’«»」』*_`]*(?:label|sentiment|category|class|answer|one|topic)?\s*"
_FITS = (
    r"(?:really |quite |entirely |the |a |an |very )*"
    r"(?:correct|right|appropriate|accurate|applicable|true|suitable|supported|justified|fitting|fit|apply|best|good|it)\b"
)
_AFTER = re.compile(
    rf"{_LABEL_SAID}(?:(?:is|was|seems|would be|does|would|can be|are)(?:\snot|n['’]t)\s(?:be )?{_FITS}"
    r"|(?:is|was|seems|would be)\s(?:clearly |also |simply )?"
    r"(?:wrong|incorrect|inaccurate|inappropriate|ruled out|out of the question)\b)"
    r"|[」』\"”]?(?:的?不对|とは(?:言|い|思|限)|だとは(?:言|い|思)|では(?:な|あり)|でな|じゃな|적?(?:이|가|이지|지|하지)?\s?(?:아니|아닙|않)"
    r"|\s?नहीं| değil)"
)


def denied(text: str, start: int, end: int) -> bool:
    """Whether what stands from `start` to `end` of a folded text is denied there."""
    before = text[max(0, start - 80) : start]
    return bool(
        _BEFORE.search(before) or _NO.search(before) or _UNSPACED.search(before) or _AFTER.match(text, end, end + 80)
    )
