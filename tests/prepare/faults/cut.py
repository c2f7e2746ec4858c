"""A TCP proxy that resets connections in the middle of what the server sends.

python cut.py LISTEN UPSTREAM SHARE COUNT_FILE: of the connections, SHARE are reset after 0.5 to 50 kB; how many were is
kept in COUNT_FILE.
"""

import asyncio
import random
import socket
import struct
import sys
from pathlib import Path

LISTEN, UPSTREAM, SHARE, COUNT = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
cuts = 0


def reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: float) -> None:
    """Pass bytes on until there are none, or until no more may pass."""
    while data := await reader.read(65536):
        left -= len(data)
        if left <= 0:
            writer.write(data[: len(data) // 2])
            await writer.drain()
            raise ConnectionResetError
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    global cuts
    left = random.uniform(500, 50_000) if random.random() < SHARE else float("inf")
    try:
        back, forth = await asyncio.open_connection("127.0.0.1", UPSTREAM)
    except OSError:
        return reset(writer)
    up, down = (
        asyncio.ensure_future(carry(reader, forth, float("inf"))),
        asyncio.ensure_future(carry(back, writer, left)),
    )
    try:
        await asyncio.gather(up, down)
        forth.close()
        writer.close()
    except OSError:
        cuts += left < float("inf")
        COUNT.write_text(str(cuts))
        up.cancel()
        down.cancel()
        reset(forth)
        reset(writer)


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", LISTEN)
    COUNT.write_text("0")
    await server.serve_forever()


asyncio.run(main())
