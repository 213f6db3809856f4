"""A client that does next to nothing, in a process of its own: what the server gives at most.

It sends the requests of the plain client, all written before the first one, and does not read what
the replies say.
"""

import asyncio
import base64
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

_IMAGE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def main() -> None:
    """In the process that is measured: `FILE CHAT REQUEST CONCURRENCY`."""
    file, chat, request, concurrency = sys.argv[1:]
    kept = json.loads(Path(request).read_text("utf-8"))
    place = urlsplit(kept["url"])
    before, after = _IMAGE.split(json.dumps(kept["body"]))
    requests = []
    for line in Path(chat).read_text("utf-8").splitlines():
        png = base64.b64encode(Path(json.loads(line)["image"]).read_bytes()).decode()
        body = f"{before}data:image/png;base64,{png}{after}".encode()
        head = f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        requests.append(head.encode() + body)
    begin = time.time()
    came = asyncio.run(_ask_all(place.geturl(), requests, int(concurrency)))
    Path(file).write_text(json.dumps({"begin": begin, "last": max(came)}), "utf-8")


async def _ask_all(url: str, requests: list[bytes], concurrency: int) -> list[float]:
    left, came = iter(requests), list[float]()
    await asyncio.gather(*(_ask(url, left, came) for _ in range(concurrency)))
    return came


async def _ask(url: str, left: Iterator[bytes], came: list[float]) -> None:
    """Send requests one after the other, as long as there are any."""
    place = urlsplit(url)
    safe = place.scheme == "https"
    port = place.port or (443 if safe else 80)
    reader, writer = await asyncio.open_connection(place.hostname, port, ssl=safe or None)
    for request in left:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if head.split(maxsplit=2)[1] != b"200" or length is None:
            raise RuntimeError(f"the server answers {head[:80]!r}")
        await reader.readexactly(int(length[1]))
        came.append(time.time())
    writer.close()


if __name__ == "__main__":
    main()
