"""Both retrievers keep the same promises."""

import os
import random
import subprocess
import sys

import bm25s
import numpy as np
import pytest

from semievol.config import RetrievalConfig
from semievol.records import Example
from semievol.retrieval import Retriever, open_retriever

PROMPTS = [
    "The striker scored a goal in the football match.",
    "Interest rates of the central bank rose again.",
    "Heavy rain and a storm are expected tomorrow.",
    "The goalkeeper saved a penalty in the football match.",
]


@pytest.fixture(params=["bm25", pytest.param("dense", marks=pytest.mark.network)], scope="module")
def retriever(request: pytest.FixtureRequest) -> Retriever:
    if request.param == "dense":
        pytest.importorskip("sentence_transformers")
    return open_retriever(RetrievalConfig(kind=request.param))


def examples(prompts: list[str]) -> list[Example]:
    return [Example(id=str(i), prompt=prompt, answer="x") for i, prompt in enumerate(prompts)]


def test_the_nearest_example_comes_first(retriever: Retriever) -> None:
    retriever.fit(examples(PROMPTS))
    found = retriever.nearest(["A penalty in a football match", "Storm and rain", "The bank's rates"], 2)
    assert [positions[0] for positions in found] == [3, 2, 1]
    assert found[0][1] == 0


def test_fewer_examples_than_k_are_all_returned(retriever: Retriever) -> None:
    retriever.fit(examples(PROMPTS[:2]))
    assert [sorted(positions) for positions in retriever.nearest(["football", "bank"], 3)] == [[0, 1], [0, 1]]


def test_equally_near_examples_come_in_their_order(retriever: Retriever) -> None:
    retriever.fit(examples([PROMPTS[1], PROMPTS[0], PROMPTS[0], PROMPTS[0]]))
    assert retriever.nearest([PROMPTS[0]], 3) == [[1, 2, 3]]


def test_a_prompt_without_a_known_word_still_gets_k_examples(retriever: Retriever) -> None:
    retriever.fit(examples(PROMPTS))
    found = retriever.nearest(["", "qqq zzz"], 3)
    assert [len(set(positions)) for positions in found] == [3, 3]


def test_no_prompts_have_no_neighbours(retriever: Retriever) -> None:
    retriever.fit(examples(PROMPTS))
    assert retriever.nearest([], 3) == []


def test_examples_without_any_word_can_be_indexed(retriever: Retriever) -> None:
    retriever.fit(examples(["...", "!!!"]))
    assert [len(positions) for positions in retriever.nearest(["football"], 2)] == [2]


def test_another_fit_replaces_the_examples(retriever: Retriever) -> None:
    retriever.fit(examples(PROMPTS))
    retriever.fit(examples(PROMPTS[2:]))
    assert retriever.nearest(["Heavy rain, storm"], 1) == [[0]]


def test_bm25_gives_the_same_order_in_every_process() -> None:
    code = (
        "import random\n"
        "from semievol.config import RetrievalConfig\n"
        "from semievol.records import Example\n"
        "from semievol.retrieval import open_retriever\n"
        "rng = random.Random(0)\n"
        "words = [f'w{i}' for i in range(30)]\n"
        "texts = [' '.join(rng.choices(words, k=12)) for _ in range(300)]\n"
        "texts += [' '.join(rng.sample(text.split(), 12)) for text in texts]  # the same words in another order\n"
        "retriever = open_retriever(RetrievalConfig(kind='bm25'))\n"
        "retriever.fit([Example(str(i), text) for i, text in enumerate(texts)])\n"
        "print(retriever.nearest(texts, 5))\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(printed) == 1


def test_bm25_scores_are_those_of_the_library_to_the_bit() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices([f"w{i}" for i in range(40)], k=12)) for _ in range(200)]
    tokens = bm25s.tokenize(texts, return_ids=False, show_progress=False)
    library = bm25s.BM25()
    library.index(tokens, show_progress=False)
    retriever = open_retriever(RetrievalConfig(kind="bm25"))
    retriever.fit(examples(texts))
    expected = [np.argsort(-library.get_scores(words), kind="stable")[:5].tolist() for words in tokens]
    assert retriever.nearest(texts, 5) == expected


def test_many_vectors_are_searched_in_clusters_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("faiss")
    from semievol.retrieval.dense import index_of

    rng = np.random.default_rng(0)
    centers = rng.standard_normal((50, 16), dtype=np.float32)
    vectors = centers[rng.integers(0, 50, 4000)] + 0.3 * rng.standard_normal((4000, 16), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with caplog.at_level("INFO", logger="semievol"):
        exact = index_of(vectors, exact=4000)
        assert not caplog.messages
        clustered = index_of(vectors, exact=3999)
    assert "4000 labeled rows are more than 3999; approximate search in 16 of 253 clusters" in caplog.text
    truth, found = (index.search(vectors[:200], 3)[1] for index in (exact, clustered))
    assert truth[:, 0].tolist() == found[:, 0].tolist() == list(range(200))
    assert np.mean([len(set(a) & set(b)) / 3 for a, b in zip(truth, found, strict=True)]) > 0.9
