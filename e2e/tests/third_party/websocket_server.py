"""A function that speaks WebSocket: it says back what it hears, and closes as it is told to."""
import asyncio
import os

import websockets


async def echo(connection, *_):
    async for message in connection:
        if message == "close":
            await connection.close(4001, "as you wish")
            return
        await connection.send(message)


async def main():
    async with websockets.serve(echo, None, int(os.environ["PORT"]), max_size=None):
        await asyncio.Future()


asyncio.run(main())
