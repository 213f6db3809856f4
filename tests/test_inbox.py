"""Many calls from other threads wake an event loop once, in their order."""

import asyncio
import threading

from medgym.inbox import Inbox, inbox_of


def test_many_calls_are_one_wake_up() -> None:
    async def run() -> None:
        loop, came = asyncio.get_running_loop(), list[int]()
        inbox, woken, all_sent = inbox_of(loop), list[object](), threading.Event()
        assert inbox_of(loop) is inbox
        wake = loop.call_soon_threadsafe

        def counted(*args: object, **options: object) -> object:
            woken.append(args)
            return wake(*args, **options)  # type: ignore[arg-type]

        loop.call_soon_threadsafe = counted  # type: ignore[assignment, method-assign]

        def send() -> None:
            for number in range(1000):
                inbox.send(came.append, number)
            all_sent.set()

        threading.Thread(target=send).start()
        all_sent.wait()  # the loop stands still meanwhile
        assert came == []
        while len(came) < 1000:
            await asyncio.sleep(0)
        assert came == list(range(1000))
        assert len(woken) == 1

    asyncio.run(run())


def test_a_loop_that_is_over_takes_nothing() -> None:
    loop = asyncio.new_event_loop()
    inbox = Inbox(loop)
    loop.close()
    inbox.send(print, "never")
    del loop
    inbox.send(print, "never")
