"""/files: upload, list, look up, content, delete."""

import itertools
import re
from dataclasses import dataclass
from typing import Any

from service.http import Call, Reply, refusal, reply


@dataclass(frozen=True)
class File:
    """A stored file."""

    id: str
    name: str
    purpose: str
    content: bytes

    def described(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": 1_700_000_000,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


class Files:
    """The endpoint and what is stored."""

    def __init__(self) -> None:
        self.stored: dict[str, File] = {}
        self.uploads = 0
        self._numbers = itertools.count(1)

    def add(self, name: str, purpose: str, content: bytes) -> File:
        """Stores a file."""
        made = File(f"file-{next(self._numbers)}", name, purpose, content)
        self.stored[made.id] = made
        return made

    def __call__(self, call: Call) -> Reply:
        _, _, rest = call.path.removesuffix("/upload").partition("/files")  # Together's address of an upload
        id_, _, what = rest.strip("/").partition("/")
        if not id_:
            if call.method == "POST":
                return self._upload(call)
            listed = [file.described() for file in self.stored.values()]
            return reply({"object": "list", "data": listed, "has_more": False})
        if id_ not in self.stored:
            return refusal(404, f"No such File object: {id_}")
        if call.method == "DELETE":
            del self.stored[id_]
            return reply({"id": id_, "object": "file", "deleted": True})
        file = self.stored[id_]
        if what == "content":
            return Reply(200, file.content, content_type="application/octet-stream")
        return reply(file.described())

    def _upload(self, call: Call) -> Reply:
        fields = _form(call)
        if "file" not in fields or "purpose" not in fields:
            return refusal(400, "'file' and 'purpose' are required.")
        self.uploads += 1
        (name, content), (_, purpose) = fields["file"], fields["purpose"]
        return reply(self.add(name, purpose.decode(), content).described())


def _form(call: Call) -> dict[str, tuple[str, bytes]]:
    """The fields of a multipart form: name -> (file name, content)."""
    found = re.search(r'boundary="?([^";]+)', call.headers.get("content-type", ""))
    fields = {}
    for part in call.body.split(b"--" + found[1].encode())[1:-1] if found else []:
        head, _, content = part.partition(b"\r\n\r\n")
        names = dict(re.findall(r'(name|filename)="([^"]*)"', head.decode("utf-8")))
        fields[names["name"]] = (names.get("filename", ""), content.removesuffix(b"\r\n"))
    return fields
