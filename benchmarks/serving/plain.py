"""The plain client, in a process of its own: httpx2, asyncio, a semaphore and a file of replies.

It sends the request that medgym sends, with the image of each question in it.
"""

import asyncio
import base64
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
from peak import peak

_IMAGE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")


async def ask_all(chat: Path, out: Path, request: dict[str, Any], concurrency: int) -> list[float]:
    """Ask all questions; returns when each reply had come."""
    template = json.dumps(request["body"])
    before, after = _IMAGE.split(template)
    free, came = asyncio.Semaphore(concurrency), []
    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    headers = {"Content-Type": "application/json"}
    with out.open("w", encoding="utf-8") as file:
        async with httpx2.AsyncClient(limits=limits, timeout=600, trust_env=False) as client:

            async def ask(question: dict[str, Any]) -> None:
                async with free:
                    png = base64.b64encode(Path(question["image"]).read_bytes()).decode()
                    body = f"{before}data:image/png;base64,{png}{after}"
                    answer = await client.post(request["url"], content=body, headers=headers)
                answer.raise_for_status()
                came.append(time.time())
                file.write(json.dumps({"id": question["id"], "reply": answer.json()}) + "\n")

            with chat.open(encoding="utf-8") as lines:
                await asyncio.gather(*(ask(json.loads(line)) for line in lines))
    return came


def main() -> None:
    """In the process that is measured: `FILE CHAT OUT REQUEST CONCURRENCY`."""
    file, chat, out, request, concurrency = sys.argv[1:]
    kept = json.loads(Path(request).read_text("utf-8"))
    begin, spent = time.time(), time.process_time()
    came = asyncio.run(ask_all(Path(chat), Path(out), kept, int(concurrency)))
    measured = {"begin": begin, "first": came[0], "last": came[-1], "memory": peak()}
    measured["cpu"] = time.process_time() - spent
    Path(file).write_text(json.dumps(measured), "utf-8")


if __name__ == "__main__":
    main()
