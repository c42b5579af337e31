"""Every node has a help page that the host serves, and its table names the node's inputs."""

from __future__ import annotations

import re
import urllib.request

import hosts
import pytest
from serving import Server

from controlstack.nodes import NODES

PAGES = hosts.PACK / "web" / "docs"
IDS = [node.GET_SCHEMA().node_id for node in NODES]


def test_there_is_a_page_for_each_node_and_no_other() -> None:
    assert {path.name for path in PAGES.iterdir()} == {f"{each}.md" for each in IDS}


@pytest.mark.parametrize("node", NODES, ids=IDS)
def test_page_explains_every_input(node: type) -> None:
    schema = node.GET_SCHEMA()
    page = (PAGES / f"{schema.node_id}.md").read_text(encoding="utf-8")
    assert page.isascii()
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, flags=re.MULTILINE)
    assert [name for name, _ in rows] == [each.id for each in schema.inputs]
    for heading in ("## Inputs", "**Tip.**", "**Pitfall.**", "**Connect next:**"):
        assert page.count(heading) == 1, heading


def test_the_host_serves_them(server: Server) -> None:
    for each in IDS:
        address = f"{server.address}/extensions/controlstack/docs/{each}.md"
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == (PAGES / f"{each}.md").read_bytes()
