"""A service with the OpenAI API, over a real socket, for tests: chat, files, batches, fine-tuning, models.

    with Service(faults=random_faults(0.3)) as service:
        client = openai.OpenAI(base_url=service.url, api_key="any")

Its models count words as the fake backend does; a fine-tuning job makes better ones. `service.log` tells what was asked
and what was answered.
"""

from service.faults import first, random_faults
from service.server import Service

__all__ = ["Service", "first", "random_faults"]
