from semievol.report.markdown import code, fenced, plain


def test_no_line_of_a_text_closes_its_block():
    text = "Text: one\n````\n# not a heading\n`````"
    first, *inside, last = fenced(text).split("\n")
    assert first == "``````text"
    assert last == "``````"
    assert "\n".join(inside) == text


def test_a_code_span_holds_backticks_of_its_text():
    assert code("model") == "`model`"
    assert code("a`b``") == "``` a`b`` ```"
    assert code("two\nlines") == "`two lines`"


def test_plain_text_makes_no_markup_and_stays_in_its_cell():
    assert plain("[a](b) | *c*\n<i>") == r"\[a\](b) \| \*c\* \<i\>"


def test_control_characters_are_written_out():
    assert "\x1b" not in fenced("\x1b[31m") + code("\x1b[31m") + plain("\x1b[31m")
