"""What must outlive this process while a job runs: the ids of the uploaded file and of the job."""

import json
import secrets
from dataclasses import asdict, dataclass

from semievol.config.places import Place
from semievol.run_folder.files import read_json, write_text

RECORD = "job.json"
ROWS = "rows.jsonl"


@dataclass
class Record:
    """A training at a service, as far as it has come. Written before each step that cannot be taken back."""

    folder: Place
    name: str
    """What the file is called at the service; no other training has the same."""
    file: str | None = None
    job: str | None = None
    model: str | None = None
    """The tuned model, once the job has succeeded."""
    rows: int = 0
    tokens: int = 0
    """Of all epochs, estimated."""

    @property
    def rows_path(self) -> Place:
        """The rows as they were uploaded."""
        return self.folder / ROWS

    def save(self) -> None:
        """Writes the record; it is on the disk when this returns."""
        content = {name: value for name, value in asdict(self).items() if name != "folder"}
        write_text(self.folder / RECORD, json.dumps(content, indent=2) + "\n")

    def forget(self) -> None:
        """The next training starts anew."""
        (self.folder / RECORD).unlink(missing_ok=True)


def find_record(folder: Place) -> Record | None:
    """What an earlier process left in `folder`, if it did."""
    path = folder / RECORD
    return Record(folder, **read_json(path)) if path.exists() else None


def new_record(folder: Place) -> Record:
    """A record of a training that begins."""
    return Record(folder, f"semievol-{secrets.token_hex(8)}.jsonl")
