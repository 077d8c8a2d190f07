"""A connection to systemd over D-Bus, the same with dbus-fast and dbus-next.

What both have in common is used: `aio.MessageBus` with plain messages. A peer without a bus daemon (systemd's private socket)
answers the Hello with an error, which both take as a name; it needs no match rules.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from tapio_otel.receivers.systemd.clock import CallClock
from tapio_otel.receivers.systemd.reading import PausableLoop, control

MAX_IN_FLIGHT: Final = 64
"""Calls sent and not yet answered: some 300 at once make a full socket, which both libraries take as the connection's end."""
CALL_TIMEOUT: Final = 30.0
"""Seconds a call may take; the time in which nothing is read does not count."""
CONNECT_TIMEOUT: Final = 10.0
NUDGE_INTERVAL: Final = 0.2
BUS: Final = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
"""Destination, path and interface of the bus daemon."""
SYSTEMD: Final = "org.freedesktop.systemd1"
MANAGER_PATH: Final = "/org/freedesktop/systemd1"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"


class CallFailed(Exception):
    """Report that a call was answered with an error; `name` is the D-Bus error's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class ConnectionLost(Exception):
    """Report that the other side is gone, or never was there."""


QUERY_ERRORS: Final = (CallFailed, ConnectionLost, TimeoutError)
"""What may become of a call."""


@contextlib.contextmanager
def tolerated(*errors: type[Exception]) -> Iterator[None]:
    """Suppress errors, but for one that came in place of a cancellation: what was cancelled while calls fail must end."""
    try:
        yield
    except errors:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from None


def load_library(name: str) -> ModuleType:
    """Import a D-Bus library: `auto` for dbus_fast else dbus_next; raises ImportError."""
    if name != "auto":
        return _import(name)
    try:
        return _import("dbus_fast")
    except ImportError:
        return _import("dbus_next")


def _import(name: str) -> ModuleType:
    import_module(f"{name}.aio")
    return import_module(name)


def bus_class(library: ModuleType) -> Any:
    """Return the library's MessageBus, but for the futures of sent messages: nobody awaits them, so failures are noted here."""

    class Bus(library.aio.MessageBus):  # type: ignore[name-defined, misc]
        def send(self, message: Any) -> asyncio.Future[None]:
            sent: asyncio.Future[None] = super().send(message)
            sent.add_done_callback(_retrieve)
            return sent

    return Bus


def _retrieve(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled():
        sent.exception()


class Connection:
    """Be one connection: opened once, closed once. `on_signal` gets every signal; it must not wait."""

    def __init__(self, library: ModuleType, address: str, on_signal: Callable[[Any], None]) -> None:
        self._library = library
        self._address = address
        self._on_signal = on_signal
        self._loop = PausableLoop(asyncio.get_running_loop())
        self._clock = CallClock(asyncio.get_running_loop())
        self._bus: Any = None
        self._free = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._signal = library.MessageType.SIGNAL
        self._error = library.MessageType.ERROR
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when the connection has ended, with the reason."""

    async def open(self) -> None:
        """Connect and authenticate; raises OSError, `ConnectionLost`, or what else the library has."""
        bus_type = bus_class(self._library)
        self._bus = bus_type.__new__(bus_type)  # dbus-next connects while it is made, and leaves the socket open if that fails
        self._bus.__init__(bus_address=self._address)
        control(self._bus, self._loop)
        self._bus.add_message_handler(self._receive)
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await self._connect()
        self._bus._disconnect_future.add_done_callback(self._ended)

    async def _connect(self) -> None:
        """Connect, and see that the other side looks at the Hello.

        systemd's private socket reads a Hello that comes together with the end of the authentication, and leaves it lying until
        something more comes.
        """
        connecting = asyncio.ensure_future(self._bus.connect())
        try:
            while not (await asyncio.wait([connecting], timeout=NUDGE_INTERVAL))[0]:
                if self._loop.is_reading:
                    self._bus._sock.send(self._nudge())
            await connecting
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    def _nudge(self) -> bytes:
        """Return a message that wants no answer."""
        ping = self._library.Message(
            path="/",
            interface="org.freedesktop.DBus.Peer",
            member="Ping",
            flags=self._library.MessageFlag.NO_REPLY_EXPECTED,
            serial=self._bus.next_serial(),
        )
        return bytes(ping._marshall(False))

    @property
    def has_bus(self) -> bool:
        """Tell whether there is a bus daemon in between: it gives names such as `:1.7`."""
        return str(self._bus.unique_name).startswith(":")

    def pause(self) -> None:
        """Stop reading: signals wait in the socket, replies too, which does not make them late."""
        self._clock.pause()
        self._loop.pause()

    def resume(self) -> None:
        """Go on reading."""
        self._clock.resume()
        self._loop.resume()

    def close(self) -> None:
        """Close; safe to call twice and after a failed `open`."""
        bus, self._bus = self._bus, None
        if not self.lost.done():
            self.lost.set_result("closed")
        if bus is None:
            return
        stream, sock = getattr(bus, "_stream", None), getattr(bus, "_sock", None)
        bus._user_disconnect = True
        if sock is not None and sock.fileno() >= 0 and hasattr(bus, "_disconnect_future"):
            bus._finalize(None)
        for part in (stream, sock):
            if part is not None:
                with contextlib.suppress(OSError):
                    part.close()

    async def call(
        self, member: str, signature: str = "", body: list[Any] | None = None, *, path: str = MANAGER_PATH, interface: str
    ) -> list[Any]:
        """Call a method of systemd and return its answer; raises `CallFailed`, `ConnectionLost` or TimeoutError."""
        return await self._call((SYSTEMD, path, interface), member, signature, body)

    async def call_bus(self, member: str, signature: str, body: list[Any]) -> list[Any]:
        """Call a method of the bus daemon; raises as `call`."""
        return await self._call(BUS, member, signature, body)

    async def get(self, path: str, interface: str, name: str) -> Any:
        """Return one property; raises as `call`."""
        return (await self.call("Get", "ss", [interface, name], path=path, interface=PROPERTIES))[0].value

    async def _call(self, to: tuple[str, str, str], member: str, signature: str, body: list[Any] | None) -> list[Any]:
        destination, path, interface = to
        message = self._library.Message(
            destination=destination, path=path, interface=interface, member=member, signature=signature, body=body or []
        )
        async with self._free:
            if self._bus is None or self.lost.done():
                raise ConnectionLost(self._why())
            try:
                async with self._clock.limit(CALL_TIMEOUT):
                    reply = await self._bus.call(message)
            except TimeoutError:  # an OSError too, but the connection is as it was
                raise
            except (OSError, EOFError) as error:
                self._end(error)
                raise ConnectionLost(self._why()) from error
        if reply is None:
            raise ConnectionLost(self._why())
        if reply.message_type is self._error:
            raise CallFailed(reply.error_name, str(reply.body[0]) if reply.body else "")
        found: list[Any] = reply.body
        return found

    def _why(self) -> str:
        return self.lost.result() if self.lost.done() and not self.lost.cancelled() else "the connection was closed"

    def _receive(self, message: Any) -> bool:
        if message.message_type is self._signal:
            self._on_signal(message)
        return False

    def _ended(self, ended: asyncio.Future[None]) -> None:
        self._end(None if ended.cancelled() else ended.exception())

    def _end(self, error: BaseException | None) -> None:
        if not self.lost.done():
            self.lost.set_result(str(error) or type(error).__name__ if error else "the connection was closed")
