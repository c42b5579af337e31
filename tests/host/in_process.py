"""The host's node list and executor without its server: a small graph takes milliseconds."""

from __future__ import annotations

import asyncio
import json
import uuid
import warnings
from typing import Any

import execution
import nodes
import server
import tiny_nodes
from serving import Graph, GraphError

import controlstack


def start() -> server.PromptServer:
    """A PromptServer that listens nowhere; the host's list then has our nodes and the tiny ones."""
    with warnings.catch_warnings():
        # The host skips node files that raise, and our "error" filter would make warnings raise.
        warnings.simplefilter("ignore")
        return asyncio.run(_start())


async def _start() -> server.PromptServer:
    running = server.PromptServer(asyncio.get_running_loop())
    await nodes.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False)
    for pack in (tiny_nodes, controlstack):
        extension = await pack.comfy_entrypoint()
        await extension.on_load()
        for node in await extension.get_node_list():
            nodes.NODE_CLASS_MAPPINGS[node.GET_SCHEMA().node_id] = node
    return running


class Executor:
    """The host's executor, which keeps the results of nodes from one run to the next."""

    def __init__(self, running: server.PromptServer) -> None:
        self._executor = execution.PromptExecutor(
            running,
            cache_type=execution.CacheType.CLASSIC,
            cache_args={"lru": 0, "ram": 0, "ram_inactive": 0},
        )

    def run(self, graph: Graph) -> dict[str, Any]:
        """`graph` in API format -> {node: {"images": [...], ...}} of its output nodes."""
        running = self._executor.server.prompt_queue.currently_running
        running[id(graph)] = graph  # the queue is passed by, and yet must say that a graph runs
        try:
            return asyncio.run(self._run(graph))
        finally:
            del running[id(graph)]

    async def _run(self, graph: Graph) -> dict[str, Any]:
        prompt = str(uuid.uuid4())
        self._executor.server.loop = asyncio.get_running_loop()
        valid, error, outputs, node_errors = await execution.validate_prompt(prompt, graph, None)
        if not valid or node_errors:
            raise GraphError(json.dumps({"error": error, "node_errors": node_errors}, default=str))
        await self._executor.execute_async(graph, prompt, {"client_id": None}, outputs)
        if not self._executor.success:
            event, data = self._executor.status_messages[-1]
            raise GraphError(f"{event}: {data.get('exception_message', '').strip()}")
        return self._executor.history_result["outputs"]
