"""The real ComfyUI server as a child process on a free loopback port, and a client for it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

Graph = dict[str, dict[str, Any]]
OnProgress = Callable[[int, int], None]
READY_IN = 300.0  # seconds; 10 to 15 on a quiet machine, over a minute on a busy one


class GraphError(RuntimeError):
    """The server refused a graph or failed while running it; the message is the server's answer."""


@dataclass(frozen=True)
class Server:
    """A running server, as its own front end sees it: through HTTP and its websocket alone."""

    address: str
    base: Path
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> Any:
        """The JSON that a route such as `/object_info` answers with."""
        return json.loads(asyncio.run(self._fetch(path)))

    def run(
        self, graph: Graph, *, timeout: float = 300.0, on_progress: OnProgress | None = None
    ) -> dict[str, Any]:
        """Runs a graph in API format; its history, where `["outputs"][node]["images"]` names files.

        `on_progress` hears (done, total) of the node that runs. Raises GraphError when a node is
        refused, fails or is interrupted.
        """
        return asyncio.run(asyncio.wait_for(self._run(graph, on_progress), timeout))

    def image(self, entry: dict[str, str]) -> Image.Image:
        """The picture that an entry of `images` in a history names, read back through `/view`."""
        query = "&".join(f"{key}={entry[key]}" for key in ("filename", "subfolder", "type"))
        return Image.open(io.BytesIO(asyncio.run(self._fetch(f"/view?{query}"))))

    async def _fetch(self, path: str) -> bytes:
        async with aiohttp.ClientSession(self.address) as http, http.get(path) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def _run(self, graph: Graph, on_progress: OnProgress | None) -> dict[str, Any]:
        client = uuid.uuid4().hex
        async with (
            aiohttp.ClientSession(self.address) as http,
            http.ws_connect(f"/ws?clientId={client}") as events,
        ):
            async with http.post("/prompt", json={"prompt": graph, "client_id": client}) as answer:
                reply = await answer.json()
            if answer.status != 200 or reply["node_errors"]:
                raise GraphError(json.dumps(reply, indent=1))
            prompt = reply["prompt_id"]
            await _follow(events, prompt, on_progress)
            async with http.get(f"/history/{prompt}") as answer:
                return (await answer.json())[prompt]


async def _follow(
    events: aiohttp.ClientWebSocketResponse, prompt: str, on_progress: OnProgress | None
) -> None:
    """Reads events until `prompt` has ended; binary ones are previews."""
    async for event in events:
        if event.type != aiohttp.WSMsgType.TEXT:
            continue
        message = event.json()
        data = message["data"]
        if data.get("prompt_id") != prompt:
            continue
        match message["type"]:
            case "execution_error" | "execution_interrupted" as kind:
                reason = data.get("exception_message", "interrupted").strip()
                raise GraphError(
                    f"{kind} in node {data['node_id']} ({data['node_type']}): {reason}"
                )
            case "progress" if on_progress:
                on_progress(data["value"], data["max"])
            case "executing" if data["node"] is None:
                return
    raise GraphError(f"the server closed the websocket before {prompt} had ended")


@contextmanager
def serve(host: Path, base: Path, packs: dict[str, Path]) -> Iterator[Server]:
    """The server of the ComfyUI at `host`, ready for graphs, with all its folders under `base`.

    `packs` are linked as custom nodes: {folder name: folder}.
    """
    for name in ("custom_nodes", "models/controlnet", "input", "output", "user", "web"):
        (base / name).mkdir(parents=True, exist_ok=True)
    for name, folder in packs.items():
        (base / "custom_nodes" / name).symlink_to(folder, target_is_directory=True)
    port = _free_port()
    server = Server(f"http://127.0.0.1:{port}", base, base / "server.log")
    command = [
        *(sys.executable, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port)),
        *("--base-directory", str(base), "--front-end-root", str(base / "web")),
        *("--disable-all-custom-nodes", "--whitelist-custom-nodes", *packs),
        *("--disable-api-nodes", "--database-url", "sqlite:///:memory:"),
    ]
    with server.log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=host,
            env=os.environ
            | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(server, process)
        yield server
    finally:
        _end(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_IN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"The server ended with {process.returncode}:\n{server.log[-4000:]}")
        try:
            server.get("/system_stats")
        except aiohttp.ClientError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(f"The server was not ready in {READY_IN} s:\n{server.log[-4000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
