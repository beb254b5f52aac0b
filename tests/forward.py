"""Another address of this machine for a server that listens on the loopback address."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_BYTES = 64 * 1024


@contextmanager
def forwarded(address: str, port: int) -> Iterator[None]:
    """Take connections to the port at the address to the same port at 127.0.0.1."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            onward = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pump(reader, onward[1]), _pump(onward[0], writer))

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(on_connection, address, port))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
