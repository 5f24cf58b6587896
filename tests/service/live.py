"""A service that runs as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

WAIT_S = 300


class Answer:
    """An answer of the service: status, headers, body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()


class Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are answers."""

    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(Stay)


class Live:
    """A service and its data folder; it can be killed and started again."""

    def __init__(self, folder, config="", **environment):
        self.folder, self.config, self.environment = Path(folder), config, environment
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def command(self, *words):
        return [sys.executable, "-P", "-m", "diffcheck", "serve", *words, "--data", str(self.folder / "data")]

    def start(self, wait=True):
        (self.folder / "service.toml").write_text(self.config)
        environment = {**os.environ, "DIFFCHECK_CAUSES": "0", "DIFFCHECK_CONFIRM": "1", **self.environment}
        environment.pop("DIFFCHECK_NO_CACHE", None)
        command = [*self.command(), "--listen", f"127.0.0.1:{self.port}", "--config", str(self.folder / "service.toml")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        if wait:
            self.until(lambda: self.get("/api/v1/health").status == 200)
        return self

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(WAIT_S)

    def until(self, condition, seconds=WAIT_S):
        """Wait for a condition; the service may be down meanwhile."""
        end = time.monotonic() + seconds
        while True:
            try:
                if found := condition():
                    return found
            except OSError:
                pass
            assert time.monotonic() < end, (self.folder / "log").read_text()[-3000:]
            time.sleep(0.05)

    def call(self, method, path, body=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, (dict, list)):
            body, named["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(self.url + path, body, named, method=method)
        try:
            with OPENER.open(request, timeout=WAIT_S) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def get(self, path, **headers):
        return self.call("GET", path, **headers)

    def post(self, path, body=None, **headers):
        return self.call("POST", path, b"" if body is None else body, **headers)

    def upload(self, data):
        return self.post("/api/v1/artifacts", data, Content_Type="application/octet-stream")

    def submit(self, files, **fields):
        """A job for files by name; waits for its end."""
        named = [{"name": name, "sha256": self.upload(data).json["sha256"]} for name, data in files.items()]
        answer = self.post("/api/v1/jobs", {"kind": "run", "files": named, **fields})
        assert answer.status == 201, answer.text
        return self.ended(answer.json["id"])

    def run(self, seconds=WAIT_S, **fields):
        answer = self.post("/api/v1/jobs", {"kind": "run", **fields})
        assert answer.status == 201, answer.text
        return self.ended(answer.json["id"], seconds)

    def ended(self, number, seconds=WAIT_S):
        return self.until(lambda: (job := self.get(f"/api/v1/jobs/{number}").json)["ended"] and job, seconds)

    def findings(self):
        return self.get("/api/v1/findings").json["items"]
