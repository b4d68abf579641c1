"""The test service answers the real client as the public API describes it."""

import contextlib
import json
from collections.abc import Iterator

import openai
import pytest

from service import Service, first, random_faults

QUESTION = [{"role": "user", "content": "rain and snow"}]


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as made:
        yield made


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=service.url, api_key="any", max_retries=0, timeout=1) as made:
        yield made


def upload(client: openai.OpenAI, rows: list[dict], purpose: str) -> str:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return client.files.create(file=("rows.jsonl", content), purpose=purpose).id


def lines(client: openai.OpenAI, count: int) -> str:
    body = {"model": "base", "messages": QUESTION}
    rows = [{"custom_id": f"c{i}", "method": "POST", "url": "/v1/chat/completions", "body": body} for i in range(count)]
    return upload(client, rows, "batch")


def ended(client: openai.OpenAI, file: str) -> openai.types.Batch:
    batch = client.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h")
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        batch = client.batches.retrieve(batch.id)
    return batch


def test_a_completion_has_the_log_probability_of_each_of_its_tokens(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(model="base", messages=QUESTION, logprobs=True).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.logprobs is not None
    assert "".join(token.token for token in choice.logprobs.content or ()) == choice.message.content


def test_the_same_seed_gives_the_same_answer(client: openai.OpenAI) -> None:
    said = {client.chat.completions.create(model="base", messages=QUESTION, seed=3).model_dump_json() for _ in range(3)}
    assert len(said) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("401", openai.AuthenticationError),
        ("403", openai.PermissionDeniedError),
        ("404", openai.NotFoundError),
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("503", openai.InternalServerError),
        ("drop", openai.APIConnectionError),
        ("cut", openai.APIConnectionError),
        ("slow", openai.APITimeoutError),
    ],
)
def test_a_fault_is_the_error_that_the_client_knows(
    fault: str, error: type[Exception], service: Service, client: openai.OpenAI
) -> None:
    service.faults = first(fault)
    with pytest.raises(error):
        client.chat.completions.create(model="base", messages=QUESTION)
    assert client.chat.completions.create(model="base", messages=QUESTION).choices
    assert service.log.answered.total() == 1


def test_random_faults_are_the_same_in_every_run() -> None:
    def injected() -> dict[str, int]:
        with Service(faults=random_faults(0.5, ("429", "500"))) as service:
            client = openai.OpenAI(base_url=service.url, api_key="any", max_retries=0)
            for number in range(20):
                question = {"role": "user", "content": str(number)}
                with contextlib.suppress(openai.APIError):
                    client.chat.completions.create(model="base", messages=[question])
            return dict(service.log.faults)

    assert injected() == injected()


@pytest.mark.parametrize(
    ("outcome", "status", "good", "bad"),
    [
        ("completed", "completed", 6, 0),
        ("partial", "completed", 4, 2),
        ("expired", "expired", 3, 3),
        ("cancelled", "cancelled", 3, 3),
        ("failed", "failed", 0, 0),
    ],
)
def test_a_batch_ends_as_it_is_told_to(
    outcome: str, status: str, good: int, bad: int, service: Service, client: openai.OpenAI
) -> None:
    service.batches.outcomes.append(outcome)
    batch = ended(client, lines(client, 6))
    assert batch.status == status
    found = {
        name: client.files.content(file).text.splitlines() if file else []
        for name, file in (("good", batch.output_file_id), ("bad", batch.error_file_id))
    }
    assert (len(found["good"]), len(found["bad"])) == (good, bad)
    assert all(json.loads(line)["response"]["status_code"] == 200 for line in found["good"])


def test_a_fine_tuning_job_leaves_a_better_model(client: openai.OpenAI) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{word} today"}, {"role": "assistant", "content": topic}]}
        for word, topic in (("rain", "weather"), ("snow", "weather"), ("goal", "sport"))
    ]
    job = client.fine_tuning.jobs.create(model="base", training_file=upload(client, rows, "fine-tune"), suffix="t")
    while job.status not in ("succeeded", "failed"):
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.trained_tokens
    assert [event.message for event in client.fine_tuning.jobs.list_events(job.id)][-1].startswith("Created")
    said = client.chat.completions.create(model=job.fine_tuned_model or "", messages=QUESTION, temperature=0)
    assert said.choices[0].message.content == "weather"
    assert job.fine_tuned_model in [model.id for model in client.models.list()]


def test_a_fine_tuning_job_fails_or_is_cancelled_as_it_is_told_to(service: Service, client: openai.OpenAI) -> None:
    row = {"messages": [*QUESTION, {"role": "assistant", "content": "weather"}]}
    file = upload(client, [row], "fine-tune")
    service.tuning.outcomes.append("failed")
    job = client.fine_tuning.jobs.create(model="base", training_file=file)
    while job.status not in ("succeeded", "failed"):
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.message
    other = client.fine_tuning.jobs.create(model="base", training_file=file)
    assert client.fine_tuning.jobs.cancel(other.id).status == "cancelled"
