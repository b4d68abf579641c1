"""What models say, and what it is read as: in other languages, with thoughts, boxed, as JSON, or going on too long."""

import pytest

from semievol.config import TaskConfig
from semievol.records import Example
from semievol.tasks import open_task

OPTIONS = ("zinc", "lead", "tin", "iron")


def read(kind: str, response: str, labels: tuple[str, ...] = (), **options: object) -> str | None:
    task = open_task(TaskConfig(kind=kind, labels=labels, **options), ())
    row = Example(id="1", prompt="Which?", options=OPTIONS if kind == "multiple_choice" else ())
    return task.parse(response, row)


@pytest.mark.parametrize(
    ("labels", "response", "answer"),
    [
        ("1 2 3 4 5", "-4", None),
        ("1 2 3 4 5", "−4", None),
        ("1 2 3 4 5", "4/5", "4"),
        ("1 2 3 4 5", "4 out of 5", "4"),
        ("1 2 3 4 5", "I give it 2 out of 5 stars.", "2"),
        ("yes no", "I have no idea", None),
        ("yes no", "There is no way to tell", None),
        ("yes no", "Yes, because there is no doubt", "yes"),
        ("yes no", "No. Yes would be wrong.", "no"),
        ("positive negative", "positive\n\nText: Another one\nAnswer: negative", "positive"),
        ("positive negative", "<think>negative? It says fine.</think>\n\npositive", "positive"),
        ("positive negative", "<think>It is negative", None),
        ("positive negative", "It is negative, is it?</think>positive", "positive"),
        ("positive negative", '{"label": "positive"}', "positive"),
        ("positive negative", "<answer>positive</answer>", "positive"),
        ("positive negative", "\\boxed{positive}", "positive"),
        ("positive negative", "#### positive", "positive"),
        ("positive negative", "Antwort: positive", "positive"),
        ("positive negative", "not positive", None),
        ("positiv negativ", "Nicht positiv", None),
        ("正面 负面", "这条评论是正面的。", "正面"),
        ("正面 负面", "不是正面", None),
        ("-1 0 1", "- 1", "-1"),
        ("-1 0 1", "a rating of -1", "-1"),
        ("-1 0 1", "−1", "-1"),
        ("-1 0 1", "a rating of 1", "1"),
        ("A* A", "A*", "A*"),
        ("A* A", "A", "A"),
        ("A* A", "Answer: A*", "A*"),
        ("<30 >30", ">30", ">30"),
        ("<30 >30", "The answer is <30.", "<30"),
        ("m² m2", "m²", "m²"),
        ("US us", "us", "us"),
        ("US us", "Answer: US", "US"),
        ("US us", "Us", None),
    ],
)
def test_a_label_is_read(labels: str, response: str, answer: str | None) -> None:
    assert read("label", response, tuple(labels.split())) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("B\n\nQuestion: Another?\nA. x\nAnswer: C", "B"),
        ("<think>The answer is A? Hmm.</think>\n\nB", "B"),
        ("<think>The answer is A. Sure", None),
        ("\\boxed{B}", "B"),
        ("So it is $\\boxed{\\text{B}}$.", "B"),
        ('{"answer": "B"}', "B"),
        ('```json\n{"answer": "B"}\n```', "B"),
        ("<answer>B</answer>", "B"),
        ("#### B", "B"),
        ("答案：B", "B"),
        ("答案是B。", "B"),
        ("Antwort: B", "B"),
        ("Respuesta: B", "B"),
        ("Réponse : B", "B"),
        ("Resposta: B", "B"),
        ("Risposta: B", "B"),
        ("Ответ: B", "B"),
        ("정답: B", "B"),
        ("答え：B", "B"),
        ("الإجابة: B", "B"),
        ("Answer: **lead**", "B"),
    ],
)
def test_a_choice_is_read(response: str, answer: str | None) -> None:
    assert read("multiple_choice", response) == answer


def test_a_choice_that_is_called_wrong_is_never_the_answer() -> None:
    assert read("multiple_choice", "Both A and B are wrong; C") in ("C", None)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("42\n\nQuestion: what is 7+8?\nAnswer: 15", "42"),
        ("Answer: 1 000 000", "1000000"),
        ("Answer: 1,000,000", "1000000"),
        ("\\boxed{\\frac{3}{4}}", "0.75"),
        ("The answer is $\\frac{3}{4}$", "0.75"),
        ("Answer: negative 5", "-5"),
        ("Answer: minus 5", "-5"),
        ("$1.2M", "1200000"),
        ("$1.2B", "1200000000"),
        ("950k", "950000"),
        ("3.5 million", "3500000"),
        ("2bn", "2000000000"),
        ("3万", "30000"),
        ("<think>7 or 8?</think>8", "8"),
        ('{"answer": 8}', "8"),
        ("Antwort: 8", "8"),
    ],
)
def test_a_number_is_read(response: str, answer: str | None) -> None:
    assert read("number", response) == answer
