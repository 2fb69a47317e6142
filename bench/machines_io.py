#!/usr/bin/env -S python3 -B
"""machines_io - measures network and disks of virtual machines, inside the lab (docs/lab.md):
`bench/machines_io.py ROUNDS`, started by `bench/machines`, which calls `bench/machines_io.py images`
first.  Prints what becomes files of results/: a line "== NAME", then the file.

All guests have the same kernel, memory and one processor, and run the same programs: fio and iperf3
from the image `machines-io`, which is moat's root and QEMU's read-only disk.  In each a shell takes
commands as lines and says when they are done: over stdin and stdout with moat, over the serial
port with QEMU.  Each round starts them anew.

Network: iperf3 between the guest and the lab itself, over a tap on moat's bridge, both directions.
Disk: fio, past the guest's page cache, on a file of an ext4 disk that is a file of the lab's; writes
rest in the lab's page cache until the guest flushes.  fio says itself when its work begins and ends:
loading its libraries is not counted."""

import csv
import ipaddress
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

from contender import (
    TOP, WORK, busy_ns, facts, initramfs, moat, moat_do, prepare, print_file, qemu, rotated, version,
)  # fmt: skip

NAME = "machines-io"
ARCHIVE = TOP / "tests" / ".cache" / "images" / NAME
PROGRAMS = ARCHIVE.with_suffix(".erofs")
TAP = "mtqemu"
QEMU_MAC = "52:54:00:00:00:fa"
# As moat makes it.
MAKE_DISK = ("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=0", "-J", "size=64")
DISK_SIZE = "64g"
SECONDS = 5
FILE_MIB = 128
EXITS = pathlib.Path("/sys/kernel/debug/kvm/exits")  # of the guests there are
DEADLINE_S = 180  # of one command, or a start

# The guests' shell.
SERVE = """#!/bin/sh
cd /tmp
echo "== ready"
while read -r line; do
	eval "$line"
	echo "== done $?"
done
"""
# What fio calls, with its output in a file of the folder that it stands in.
MARK = """#!/bin/sh
echo "== $1" >/proc/1/fd/1
"""
INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
while read -r module; do
	insmod "/lib/moat/$module" || echo "no module $module"
done </lib/moat/modules.list
mkdir /root
mount -t erofs -o ro /dev/vda /root || poweroff -f
mount -t proc proc /root/proc
mount -t devtmpfs dev /root/dev
mount -t tmpfs tmp /root/tmp
[ ! -b /dev/vdb ] || mount -t ext4 -o discard,noinit_itable /dev/vdb /root/disk
ip link set lo up
ip addr add ADDRESS dev eth0
ip link set eth0 up
stty -F /dev/ttyS0 raw -echo
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec chroot /root /serve </dev/ttyS0 >/dev/ttyS0 2>&1
"""


# ---- the image, made outside the lab ----


def libraries(program):
    words = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", words)


def images():
    """The image for moat, and the same files as an EROFS file system for QEMU."""
    entries = ["--busybox", "--dir", "disk", "--exec", f"serve={SERVE}", "--exec", f"mark={MARK}"]
    copies = {}
    for name in ("fio", "iperf3"):
        program = f"/usr/bin/{name}"
        if not pathlib.Path(program).exists():
            raise SystemExit(f"machines_io: no {program}: tools/deps bench installs it")
        copies |= {path: path for path in (program, *libraries(program))}
    for path in sorted(copies):
        entries += ["--copy", f"{path}={path}"]
    mkimage = TOP / "tests" / "lib" / "mkimage.py"
    ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([mkimage, "docker-archive", ARCHIVE, *entries, "--tag", f"{NAME}:latest"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        tar, tree = pathlib.Path(folder) / "tar", pathlib.Path(folder) / "tree"
        subprocess.run([mkimage, "rootfs", tar, *entries], check=True)
        with tarfile.open(tar) as file:
            file.extractall(tree, numeric_owner=True)
        subprocess.run(["mkfs.erofs", "--quiet", PROGRAMS, tree], check=True, stdout=subprocess.DEVNULL)


# ---- guests ----


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Guest:
    """A machine whose shell is at the other end of its process' stdin and stdout."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace"
        )
        self.lines_until("== ready")

    def lines_until(self, last):
        """Lines with the lab's CPU time when they came, up to one that begins as last does."""
        lines = []
        timer = threading.Timer(DEADLINE_S, self.process.kill)
        timer.start()
        try:
            for line in self.process.stdout:
                line = line.strip()
                if line.startswith(last):
                    return lines + [(line, busy_ns())]
                lines.append((line, busy_ns()))
        finally:
            timer.cancel()
        said = "\n".join(line for line, _ in lines[-20:])
        raise SystemExit(f"machines_io: a guest has ended or hangs before {last!r}; it said:\n{said}")

    def do(self, command):
        """What the command printed, each line with the lab's CPU time, before and after as well."""
        began = busy_ns()
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        lines = self.lines_until("== done")
        if lines[-1][0] != "== done 0":
            said = "\n".join(line for line, _ in lines)
            raise SystemExit(f"machines_io: {command!r} failed:\n{said}")
        return [("", began), *lines]

    def end(self):
        self.process.kill()
        self.process.communicate()


class Moat:
    def start(self):
        return Guest(moat("-i", "--name", NAME, NAME, "/serve"))

    def end(self, guest):
        guest.end()
        moat_do("rm", "-f", NAME)


class Qemu:
    def __init__(self, vhost, kernel, archive):
        self.disk = WORK / "qemu.disk"
        self.command = qemu(
            "q35", kernel, archive,
            "-drive", f"if=none,id=programs,format=raw,readonly=on,file={PROGRAMS}",
            "-device", "virtio-blk-pci,drive=programs",
            "-drive", f"if=none,id=disk,format=raw,cache=writeback,aio=threads,discard=unmap,file={self.disk}",
            "-device", "virtio-blk-pci,drive=disk",
            "-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no,vhost={vhost}",
            "-device", f"virtio-net-pci,netdev=net,mac={QEMU_MAC},romfile=",
            serial="stdio",
        )  # fmt: skip

    def start(self):
        self.disk.unlink(missing_ok=True)
        run(*MAKE_DISK, str(self.disk), DISK_SIZE)
        return Guest(self.command)

    def end(self, guest):
        guest.end()


# ---- the network ----


def meet_bridge(moat_machine):
    """moat's bridge as its first guest finds it: its name and its address; a tap for QEMU on it."""
    guest = moat_machine.start()
    route = "\n".join(line for line, _ in guest.do("ip route"))
    gateway = re.search(r"default via (\S+)", route)[1]
    moat_machine.end(guest)
    inet = rf"\d+: (\S+) +inet ({re.escape(gateway)}/\d+)"
    bridge, subnet = re.search(inet, run("ip", "-4", "-o", "addr")).groups()
    run("ip", "tuntap", "add", TAP, "mode", "tap", "vnet_hdr")
    run("ip", "link", "set", TAP, "master", bridge, "up")
    network = ipaddress.ip_interface(subnet).network
    return gateway, f"{network.broadcast_address - 1}/{network.prefixlen}"


def iperf3(guest, gateway, option):
    """Wall and CPU nanoseconds, and how many GB came through."""
    lines = guest.do(f"iperf3 -c {gateway} -t {SECONDS} -i 0 -J {option}")
    text = "\n".join(line for line, _ in lines[1:-1])
    came = json.loads(text[text.index("{") :])["end"]["sum_received"]
    return came["seconds"] * 1e9, lines[-1][1] - lines[0][1], came["bytes"] / 1e9


NETWORK = {"to the guest": "-R", "to the host": ""}


# ---- disks ----

# How many of what a sample counts come out of so many kilobytes.
DISK = {
    "read": ("--rw=read --bs=128k --iodepth=8", 1e9 / 1024),
    "write": ("--rw=write --bs=128k --iodepth=8", 1e9 / 1024),
    "random read": ("--rw=randread --bs=4k --iodepth=16", 4 * 1000),
    "random write": ("--rw=randwrite --bs=4k --iodepth=16", 4 * 1000),
}
# Fields of fio's terse lines, version 3: kilobytes and milliseconds.
READ_FIELDS, WRITE_FIELDS = (5, 8), (46, 49)


def fio(guest, options, kib_each):
    """Wall and CPU nanoseconds, and how many GB or thousands of requests were done."""
    lines = guest.do(
        f"fio --name=it --filename=/disk/file --size={FILE_MIB}m --runtime={SECONDS} --time_based --thread --direct=1"
        " --ioengine=libaio --gtod_reduce=1 --output-format=terse --terse-version=3"
        f" --exec_prerun='/mark begin' --exec_postrun='/mark end' {options}"
    )
    when = {line: busy for line, busy in lines if line.startswith("== ")}
    (fields,) = (line.split(";") for line, _ in lines if line.startswith("3;fio-"))
    kib, ms = (sum(int(fields[field[at]]) for field in (READ_FIELDS, WRITE_FIELDS)) for at in (0, 1))
    return ms * 1e6, when["== end"] - when["== begin"], kib / kib_each


def lay_out(guest):
    """The file with its blocks: overwriting needs none."""
    guest.do(f"dd if=/dev/zero of=/disk/file bs=1M count={FILE_MIB} conv=fsync 2>/dev/null")
    run("sync")


# ---- the whole ----


def measure(contender, gateway, has_disk):
    """Name of the file, part, (wall, CPU, amount), exits: one for each thing measured in one start."""
    guest = contender.start()
    tests = [("vm_net", part, lambda option=option: iperf3(guest, gateway, option)) for part, option in NETWORK.items()]
    guest.do("iperf3 --version >/dev/null")
    if has_disk:
        lay_out(guest)
        tests += [("vm_disk", part, lambda row=row: fio(guest, *row)) for part, row in DISK.items()]
    for file, part, test in tests:
        before = int(EXITS.read_text())
        yield file, part, test(), int(EXITS.read_text()) - before
        if file == "vm_disk":
            run("sync")
    contender.end(guest)


def print_samples(samples, given):
    """After each round all there are: the last word counts, should the lab not come to its end."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    for file, rows in samples.items():
        print_file(f"{file}.csv", given)
        out.writerow("case contender round wall_ns cpu_ns amount exits".split())
        out.writerows(rows)
    print("== so far", flush=True)


def main():
    if sys.argv[1] == "images":
        images()
        return
    rounds = int(sys.argv[1])
    kernel, modules = prepare(ARCHIVE)
    moat_machine = Moat()
    gateway, address = meet_bridge(moat_machine)
    server = subprocess.Popen(["iperf3", "-s", "-B", gateway], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    archive = pathlib.Path(initramfs("io", {"init": INIT.replace("ADDRESS", address)}))
    archive.write_bytes(pathlib.Path(modules).read_bytes() + archive.read_bytes())
    contenders = {
        "moat": (moat_machine, True),
        "qemu": (Qemu("off", kernel, archive), True),
        "qemu-vhost": (Qemu("on", kernel, archive), False),  # its disk is the same
    }
    samples = {"vm_net": [], "vm_disk": []}
    given = facts(iperf3=version("iperf3", "--version"), fio=version("fio", "--version"))
    try:
        for number in range(1, rounds + 1):
            for name in rotated(contenders, number):
                started = time.perf_counter()
                contender, has_disk = contenders[name]
                for file, part, (wall, busy, amount), left in measure(contender, gateway, has_disk):
                    samples[file].append((part, name, number, round(wall), busy, round(amount, 6), left))
                    said = f"{wall / amount / 1e6:.1f} ms, CPU {busy / amount / 1e6:.1f} ms, {left / amount:.0f} exits"
                    print(f"machines_io: {number} {name} {part}: {said}", file=sys.stderr, flush=True)
                print(f"machines_io: {number} {name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
            print_samples(samples, given)
    finally:
        server.kill()


if __name__ == "__main__":
    main()
