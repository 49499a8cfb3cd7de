"""What ``web.py`` of docs/howto/asyncio.rst does, on a reactor that is installed: once in a process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from twisted.internet import asyncioreactor

from gossiplog import Node, Reader, open_store


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor

    reactor.startRunning(installSignalHandlers=False)  # type: ignore[attr-defined]
    async with open_store("web", reactor) as store, Node(reactor, store, network="garden") as node:
        await node.listen("tcp:0:interface=127.0.0.1")
        app.state.store = store
        app.state.writer = await store.writer(encoding="json")
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/notes")
async def add(note: dict[str, Any]) -> dict[str, int]:
    return {"seq": await app.state.writer.append(note)}


@app.get("/notes")
async def show() -> list[Any]:
    return [entry.payload async for entry in app.state.store.read(encoding="json")]


@app.websocket("/live")
async def live(socket: WebSocket) -> None:
    await socket.accept()
    reader = app.state.store.read(live=True, encoding="json")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(close_when_gone(socket, reader))
        async for entry in reader:
            await socket.send_json(entry.payload)


async def close_when_gone(socket: WebSocket, reader: Reader) -> None:
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        reader.close()
