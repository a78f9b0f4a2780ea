"""A small server that speaks as much of the hub's protocol as its client needs to download a repository."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "1234567890abcdef1234567890abcdef12345678"


@dataclass
class Hub:
    """A repository that is served, what was asked of it, and how it misbehaves.

    Attributes:
        folder: its files; repository, revisions: the names it is served under.
        requests: method, path and Range header of every request.
        break_after: bytes after which the next weight file's connection breaks, once.
        refuse: a status and the hub's name for it, given to every request.
    """

    folder: Path
    repository: str = "someone/tiny"
    revisions: tuple[str, ...] = ("main", COMMIT)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    break_after: int | None = None
    refuse: tuple[int, str] | None = None
    url: str = ""

    def fetched(self) -> set[str]:
        """Names of the files whose contents were asked for."""
        start = f"/{self.repository}/resolve/{COMMIT}/"
        return {path.removeprefix(start) for method, path, _ in self.requests if method == "GET" and start in path}


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub on a free port of the loopback address, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path, self.headers.get("Range")))
            api = f"/api/models/{hub.repository}"
            if hub.refuse is not None:
                self.refuse(*hub.refuse)
            elif not path.startswith((api, f"/{hub.repository}/resolve/")):
                self.refuse(404, "RepoNotFound")
            elif path.startswith(f"{api}/revision/"):
                known = path.removeprefix(f"{api}/revision/") in hub.revisions
                self.json({"id": hub.repository, "sha": COMMIT}) if known else self.refuse(404, "RevisionNotFound")
            elif path == f"{api}/tree/{COMMIT}":
                files = sorted(p for p in hub.folder.rglob("*") if p.is_file())
                self.json([self.entry(p) for p in files])
            elif path.startswith(start := f"/{hub.repository}/resolve/{COMMIT}/"):
                self.file(hub.folder / path.removeprefix(start))
            else:
                self.refuse(404, "RevisionNotFound")

        def entry(self, path: Path) -> dict[str, object]:
            name = path.relative_to(hub.folder).as_posix()
            return {"type": "file", "path": name, "size": path.stat().st_size, "oid": digest(path)}

        def file(self, path: Path) -> None:
            content = path.read_bytes()
            first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
            self.send_response(206 if first else 200)
            self.send_header("ETag", f'"{digest(path)}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            if self.command == "HEAD":
                return
            if hub.break_after is not None and path.suffix == ".safetensors":
                self.wfile.write(content[first : first + hub.break_after])
                hub.break_after = None
                self.close_connection = True
                self.connection.shutdown(2)
            else:
                self.wfile.write(content[first:])

        def json(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def refuse(self, status: int, reason: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", reason)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
