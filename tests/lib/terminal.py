#!/usr/bin/env python3
"""terminal - runs a command on a terminal of its own and talks to it.

  terminal.py [expect=TEXT | send=TEXT | resize=ROWSxCOLUMNS | eof] ... -- COMMAND ...

`send` knows the escapes of Python strings (\\x03 is Ctrl-C).  Prints what the terminal showed; ends
with the command's exit status, or 1 and a line when an expected text did not come within 15 seconds."""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

DEADLINE_S = 15


def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))


class Screen:
    """What has been shown; `place` is where the last expectation matched."""

    def __init__(self, fd):
        self.fd, self.shown, self.place = fd, b'', 0

    def read(self, timeout_s):
        """False at the end of the terminal."""
        if not select.select([self.fd], [], [], timeout_s)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.shown += data
        return bool(data)

    def expect(self, text):
        deadline = time.monotonic() + DEADLINE_S
        while True:
            at = self.shown.find(text, self.place)
            if at >= 0:
                self.place = at + len(text)
                return True
            if time.monotonic() > deadline or not self.read(0.2) and text not in self.shown[self.place:]:
                return False


def main(arguments):
    cut = arguments.index('--')
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(arguments[cut + 1], arguments[cut + 1:])
    resize(fd, 24, 80)
    screen = Screen(fd)
    failed = None
    for step in arguments[:cut]:
        word, _, text = step.partition('=')
        data = text.encode().decode('unicode_escape').encode('latin-1')
        if word == 'expect' and not screen.expect(data):
            failed = step
            break
        if word == 'send':
            os.write(fd, data)
        elif word == 'resize':
            resize(fd, *map(int, text.split('x')))
        elif word == 'eof':
            os.write(fd, b'\x04')
    deadline = time.monotonic() + (0 if failed else DEADLINE_S)
    while time.monotonic() < deadline and screen.read(0.2):
        pass
    sys.stdout.write(screen.shown.decode(errors='replace').replace('\r\n', '\n'))
    sys.stdout.flush()
    if failed or time.monotonic() >= deadline:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        sys.exit(f'terminal: {failed or "the command"} did not come to an end')
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
