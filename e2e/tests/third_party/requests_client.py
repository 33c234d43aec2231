"""Python's requests against a function at rest: cold, warm on one connection, bodies with and without a length."""
import sys

import requests

base = sys.argv[1]
body = bytes(index % 251 for index in range(300_000))
session = requests.Session()

cold = session.get(base + "/", timeout=60)
assert cold.status_code == 200, cold.status_code
assert cold.headers["Server-Timing"].startswith("catnap;desc=cold"), cold.headers
answered = 1
for _ in range(100):
    warm = session.get(base + "/", timeout=10)
    assert warm.status_code == 200 and warm.text.startswith("Hello from "), warm.text
    assert "Server-Timing" not in warm.headers, warm.headers
    answered += 1

# All of it is sent before anything is read: it has to fit into buffers on the way.
echoed = session.post(base + "/echo", data=body, timeout=10)
assert echoed.content == body, len(echoed.content)
chunks = [body[start:start + 10_000] for start in range(0, len(body), 10_000)]
echoed = session.post(base + "/echo", data=iter(chunks), timeout=10)
assert echoed.content == body, len(echoed.content)
answered += 2

with session.get(base + "/stream?chunks=5&interval_ms=20", stream=True, timeout=10) as stream:
    lines = list(stream.iter_lines())
assert lines == [b"chunk %d" % number for number in range(5)], lines
answered += 1

for status in (503, 204):
    assert session.get(f"{base}/status/{status}", timeout=10).status_code == status
    answered += 1

pool = session.get_adapter(base).poolmanager.connection_from_url(base)
assert pool.num_connections == 1, f"{pool.num_connections} connections"
print("answered", answered)
