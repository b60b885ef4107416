"""An editor at the other ends of `nervac lsp`'s pipes, with JSON-RPC written by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from queue import Queue

COMMAND = [sys.executable, "-c", "from nerva_dsl.cli import main; main()", "lsp"]
SECONDS = 60


class Session:
    """One run of the server."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._messages: Queue[dict] = Queue()
        self._next = 0
        self._kept: list[dict] = []
        threading.Thread(target=self._receive, daemon=True).start()

    def start(self, **capabilities) -> dict:
        """The first messages; what the server can do."""
        result = self.request(
            "initialize", {"processId": None, "rootUri": None, "capabilities": capabilities}
        )
        self.notify("initialized", {})
        return result["capabilities"]

    def stop(self) -> int:
        """The last messages; the server's exit status."""
        assert self.request("shutdown", None) is None
        self.notify("exit", None)
        self._process.stdin.close()
        status = self._process.wait(SECONDS)
        self._process.stdout.close()
        self._process.stderr.close()
        return status

    def kill(self) -> None:
        """End the server whatever it does."""
        self._process.kill()
        self._process.wait(SECONDS)

    def request(self, method: str, params) -> object:
        """Ask, and wait for the answer."""
        self._next += 1
        self._send({"id": self._next, "method": method, "params": params})
        answer = self._wait(lambda message: message.get("id") == self._next)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def notify(self, method: str, params) -> None:
        """Tell, without an answer."""
        self._send({"method": method, "params": params})

    def diagnostics(self, uri: str) -> list[dict]:
        """The next diagnostics of a file."""
        message = self._wait(
            lambda message: (
                message.get("method") == "textDocument/publishDiagnostics"
                and message["params"]["uri"] == uri
            )
        )
        return message["params"]["diagnostics"]

    def _send(self, message: dict) -> None:
        content = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(content), content))
        self._process.stdin.flush()

    def _wait(self, wanted) -> dict:
        for message in self._kept:
            if wanted(message):
                self._kept.remove(message)
                return message
        while True:
            message = self._messages.get(timeout=SECONDS)
            if wanted(message):
                return message
            self._kept.append(message)

    def _receive(self) -> None:
        stream = self._process.stdout
        while line := stream.readline():
            name, _, value = line.partition(b":")
            assert name.lower() == b"content-length", line
            while stream.readline() != b"\r\n":
                pass
            self._messages.put(json.loads(stream.read(int(value))))
