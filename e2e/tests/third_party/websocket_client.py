"""Python's websockets against a function at rest: texts, binaries, pings, closing from either side, many at once."""
import asyncio
import sys

import websockets

url = sys.argv[1]
large = bytes(index % 251 for index in range(2_000_000))


async def said_back(connection, message):
    await connection.send(message)
    assert await connection.recv() == message
    return 1


async def talk(number):
    answered = 0
    async with websockets.connect(f"{url}/talk/{number}", max_size=None) as connection:
        for turn in range(5):
            answered += await said_back(connection, f"{number}: {turn}")
        await asyncio.wait_for(await connection.ping(), 10)
        answered += 1
    assert connection.close_code == 1000, connection.close_code
    return answered


async def main():
    # The first one wakes the function.
    async with websockets.connect(url, max_size=None, open_timeout=60) as connection:
        answered = await said_back(connection, "cold")
        answered += await said_back(connection, large)
        answered += await said_back(connection, "ü" * 10_000)
        await connection.send("close")
        await connection.wait_closed()
        assert (connection.close_code, connection.close_reason) == (4001, "as you wish")
        answered += 1
    return answered + sum(await asyncio.gather(*(talk(number) for number in range(20))))


print("answered", asyncio.run(asyncio.wait_for(main(), 60)))
