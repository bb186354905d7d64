"""A small engine for torture: restarts whatever ends, moves output to files, notes each exit once.

Usage: keeper_engine.py SOURCE DIRECTORY --keeper-fd N. Exits are noted in DIRECTORY/exits before they are forgotten.
"""

import contextlib
import os
import select
import socket
import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, sys.argv[1])
from shiftboss.core.wire import codec, messages
from shiftboss.core.wire.entry import MAX_MESSAGE

DIRECTORY = Path(sys.argv[2])
Slot = tuple[str, int]


class Engine:
    def __init__(self, keeper: socket.socket) -> None:
        self.keeper = keeper
        self.pipes: dict[int, int] = {}  # pipe -> file
        self.outputs: dict[tuple[str, int, int], int] = {}
        self.wanted: dict[Slot, int] = {}  # slot -> greatest run seen
        self.noted = (
            set((DIRECTORY / "exits").read_text().splitlines()) if (DIRECTORY / "exits").exists() else set()
        )
        self.exits = os.open(DIRECTORY / "exits", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.stopping = False
        self.poll = select.poll()
        self.poll.register(keeper, select.POLLIN)

    def send(self, request: messages.Request) -> None:
        with contextlib.suppress(OSError):  # the end of file comes next
            self.keeper.send(codec.encode(request))

    def take(self) -> None:
        raw, descriptors, _, _ = socket.recv_fds(self.keeper, MAX_MESSAGE, 1)
        if not raw:
            self.end()
        report = codec.decode_report(raw)
        if isinstance(report, messages.SpawnFailed | messages.Exited | messages.Gone):
            self.over(report)
            return
        match report:
            case messages.Offer(_, entry):
                slots = ((entry.address, process) for process in range(1, entry.processes_max + 1))
                self.wanted |= {slot: 0 for slot in slots if slot not in self.wanted}
            case messages.Spawned() | messages.Held():
                self.hold(report, descriptors)
            case messages.Stopping():
                self.stopping = True
            case messages.Synced():
                self.start()
            case _:
                for descriptor in descriptors:
                    os.close(descriptor)

    def end(self) -> NoReturn:
        while self.pipes:
            self.drain()
        sys.exit(0)

    def start(self) -> None:
        for slot, run in self.wanted.items():
            if not run:
                self.send(messages.Spawn(*slot, self.next_run(slot)))

    def over(self, report: messages.SpawnFailed | messages.Exited | messages.Gone) -> None:
        key = (report.entry, report.process, report.run)
        match report:
            case messages.Exited(exit=ended, gone=gone):
                self.ended(key, ended.code, gone)
            case messages.SpawnFailed(step=step, words=words):
                if step not in ("busy", "stopping"):
                    self.note(key, words)
                self.again(key)
            case messages.Gone():
                self.again(key)

    def hold(self, report: messages.Spawned | messages.Held, descriptors: list[int]) -> None:
        key = (report.entry, report.process, report.run)
        self.wanted[key[:2]] = max(report.run, self.wanted.get(key[:2], 0))
        if key in self.outputs:
            os.close(descriptors[0])
        else:
            file = os.open(DIRECTORY / f"log-{report.process}-{report.run}", os.O_WRONLY | os.O_CREAT, 0o644)
            os.lseek(file, 0, os.SEEK_END)
            self.outputs[key] = descriptors[0]
            self.pipes[descriptors[0]] = file
        if isinstance(report, messages.Held) and report.exit:
            self.ended(key, report.exit.code, report.gone)

    def drain(self) -> None:
        for pipe, file in list(self.pipes.items()):
            try:
                moved = os.splice(pipe, file, 1 << 16, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                continue
            if not moved:
                os.close(pipe)
                os.close(file)
                del self.pipes[pipe]
                self.outputs = {key: output for key, output in self.outputs.items() if output != pipe}

    def ended(self, key: tuple[str, int, int], code: int, gone: bool) -> None:
        self.note(key, str(code))
        if gone:
            self.again(key)
        else:
            self.send(messages.Kill(*key))

    def note(self, key: tuple[str, int, int], words: str) -> None:
        line = f"{key[1]} {key[2]} {words}"
        if line not in self.noted:
            self.noted.add(line)
            os.write(self.exits, f"{line}\n".encode())

    def next_run(self, slot: Slot) -> int:
        runs = [int(line.split()[1]) for line in self.noted if int(line.split()[0]) == slot[1]]
        return max([self.wanted[slot], *runs]) + 1

    def again(self, key: tuple[str, int, int]) -> None:
        while self.outputs.get(key) in self.pipes:
            self.drain()
        self.send(messages.Forget(*key))
        if not self.stopping and key[2] >= self.wanted.get(key[:2], 0):
            self.wanted[key[:2]] = run = self.next_run(key[:2])
            self.send(messages.Spawn(*key[:2], run))

    def run(self) -> None:
        self.send(messages.Sync())
        while True:
            for _ in self.poll.poll(8):
                self.take()
            self.drain()


Engine(socket.socket(fileno=int(sys.argv[sys.argv.index("--keeper-fd") + 1]))).run()
