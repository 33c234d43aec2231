"""Python's httpx, over HTTP/1.1 or HTTP/2 by prior knowledge, against a function at rest; then many requests at once."""
import asyncio
import sys

import httpx

version, base = sys.argv[1:]
spoken = {"http1": "HTTP/1.1", "http2": "HTTP/2"}[version]
options = {"http1": version == "http1", "http2": version == "http2", "timeout": 60}
body = bytes(index % 251 for index in range(300_000))
answered = 0


def check(response):
    global answered
    assert response.status_code == 200, response.status_code
    assert response.http_version == spoken, response.http_version
    answered += 1
    return response


with httpx.Client(**options) as client:
    cold = check(client.get(base + "/"))
    assert cold.headers["server-timing"].startswith("catnap;desc=cold"), cold.headers
    assert check(client.post(base + "/echo", content=body)).content == body
    chunks = (body[start:start + 10_000] for start in range(0, len(body), 10_000))
    assert check(client.post(base + "/echo", content=chunks)).content == body
    with client.stream("GET", base + "/stream?chunks=5&interval_ms=20") as stream:
        lines = list(check(stream).iter_lines())
    assert [line.strip() for line in lines] == [f"chunk {number}" for number in range(5)], lines


async def at_once():
    async with httpx.AsyncClient(**options) as client:
        for response in await asyncio.gather(*(client.get(base + "/") for _ in range(200))):
            assert check(response).text.startswith("Hello from ")


asyncio.run(at_once())
print("answered", answered)
