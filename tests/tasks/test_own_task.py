"""A user's own task, in a file of their own."""

import pytest

from semievol.config import TaskConfig
from semievol.errors import ConfigError, DataError
from semievol.records import Example
from semievol.tasks import open_task

FILE = """
from semievol.tasks.base import BaseTask


class YesNo(BaseTask):
    default_instruction = "Answer yes or no."

    def read(self, text, example):
        word = text.strip(" .").lower()
        return word if word in ("yes", "no") else None
"""


@pytest.fixture
def yes_no(tmp_path, monkeypatch):
    (tmp_path / "my_tasks.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    return open_task(TaskConfig(kind="my_tasks:YesNo"), [])


def test_one_method_makes_a_task(yes_no):
    one = yes_no.normalize(Example(id="1", prompt="Is it?", answer="Yes."))
    assert one.answer == yes_no.parse(yes_no.response(one), one) == "yes"
    assert yes_no.parse("Well, the answer is: no.", one) == "no"
    assert yes_no.parse("dunno", one) is None
    assert yes_no.messages(one)[0]["content"] == "Answer yes or no.\n\nQuestion: Is it?\nAnswer:"
    with pytest.raises(DataError, match="answer 'perhaps' cannot be read as an answer of a my_tasks:YesNo task"):
        yes_no.normalize(Example(id="1", prompt="Is it?", answer="perhaps"))


def test_a_kind_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"task\.kind: 'lables' is not one of multiple_choice, label"):
        open_task(TaskConfig(kind="lables"), [])
