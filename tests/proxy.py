"""A wire between browser and server that a test can cut and mend."""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

WAIT_SECONDS = 60.0  # on a busy computer; nothing here takes a second


class Wire:
    """A TCP proxy in a thread of its own.

    `cut()` resets what is open and refuses what is new, as a server that is gone does;
    `silence()` lets nothing through and says nothing, as a network that is gone does.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0  # known once it listens
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stopped = asyncio.Event()
        self._through = asyncio.Event()
        self._through.set()
        self._refusing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(WAIT_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(WAIT_SECONDS)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        self._do(self._cut)

    def silence(self) -> None:
        self._do(self._through.clear)

    def mend(self) -> None:
        """Let through again. What was in a silenced connection arrives now."""
        self._do(self._mend)

    def _do(self, action: object) -> None:
        done = threading.Event()

        def act() -> None:
            action()  # type: ignore[operator]
            done.set()

        self._loop.call_soon_threadsafe(act)
        assert done.wait(WAIT_SECONDS)

    def _cut(self) -> None:
        self._refusing = True
        for task in self._tasks:
            task.cancel()

    def _mend(self) -> None:
        self._refusing = False
        self._through.set()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        ends = [writer]
        try:
            if not self._refusing:
                await self._join(reader, writer, ends)
        except (asyncio.CancelledError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            for end in ends:
                end.transport.abort()

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: list[asyncio.StreamWriter],
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        ends.append(far_writer)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._pipe(reader, far_writer))
            both.create_task(self._pipe(far_reader, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            await self._through.wait()
            writer.write(piece)
            await writer.drain()
        await self._through.wait()
        with contextlib.suppress(OSError):
            writer.write_eof()
