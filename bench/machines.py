#!/usr/bin/env -S python3 -B
"""machines - measures the start of virtual machines, inside the lab (docs/lab.md):
`bench/machines.py ROUNDS`, started by `bench/machines`.  Prints what becomes files of results/: a line
"== NAME", then the file.

QEMU's guests have one file system, the initramfs, with busybox in it and an init that runs `true` and
switches off: no image, no overlay, no vsock, no network, so they do less than moat's."""

import csv
import glob
import pathlib
import re
import subprocess
import sys
import time

from contender import (
    MEMORY_MIB, TOP, WORK, busy_ns, exits_counted, facts, initramfs, loop_s, moat, moat_do, prepare, print_file, qemu, rotated,
)  # fmt: skip

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
%s
/bin/busybox poweroff -f
"""


def starts(*words):
    return moat("--network", "none", *words)


def exits_of(command):
    with exits_counted() as exits:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        return exits()


def own_memory_kib(pid):
    """PSS of what is not the guest's: its RAM, the one mapping as large as that, and the pages of its
    image, which it maps straight from the host's cache."""
    total, counts = 0, True
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        place = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if place:
            is_ram = int(place[2], 16) - int(place[1], 16) >= MEMORY_MIB << 20
            counts = not is_ram and str(WORK / "root") not in line
        elif counts and line.startswith("Pss:"):
            total += int(line.split()[1])
    return total


def pid_of(*words):
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        arguments = pathlib.Path(path).read_bytes().decode(errors="replace").split("\0")
        if all(word in arguments for word in words):
            return int(path.split("/")[2])
    raise SystemExit(f"machines: no process {words}")


def weigh_moat():
    subprocess.run(starts("-d", "--name", "weighed", "busybox", "sleep", "1000"), stdout=subprocess.DEVNULL, check=True)
    time.sleep(2)
    kib = own_memory_kib(pid_of("@vmm"))
    moat_do("rm", "-f", "weighed")
    return kib


def weigh_qemu(command):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    time.sleep(15)
    kib = own_memory_kib(process.pid)
    process.kill()
    process.wait()
    return kib


def main():
    if sys.argv[1] == "loop":
        print(loop_s())
        return
    rounds = int(sys.argv[1])
    kernel, _ = prepare(TOP / "tests" / ".cache" / "images" / "busybox")
    once = initramfs("once", {"init": INIT % "/bin/busybox true"})
    stays = initramfs("stays", {"init": INIT % "/bin/busybox sleep 1000"})
    microvm = "microvm,pic=off,pit=off,rtc=off,isa-serial=off"
    contenders = {
        "moat": starts("--rm", "busybox", "true"),
        "qemu-q35": qemu("q35", kernel, once),
        "qemu-microvm": qemu(microvm, kernel, once),
    }
    out = csv.writer(sys.stdout, lineterminator="\n")
    print_file("vm_run.csv", facts())
    out.writerow("case contender round wall_ns cpu_ns rusage_ns machine_ns quiet".split())
    for number in range(rounds + 1):
        for name in rotated(contenders, number):
            busy, started = busy_ns(), time.perf_counter_ns()
            subprocess.run(contenders[name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
            wall = time.perf_counter_ns() - started
            time.sleep(0.5)
            busy = busy_ns() - busy
            if number > 0:  # the first is a warm-up
                out.writerow(("vm_run", name, number, wall, busy, busy, busy, 1))
    print_file("vm_run.memory.csv", None)
    out.writerow(("contender", "processes", "pss_kib"))
    out.writerow(("moat", 1, weigh_moat()))
    out.writerow(("qemu-q35", 1, weigh_qemu(qemu("q35", kernel, stays))))
    out.writerow(("qemu-microvm", 1, weigh_qemu(qemu(microvm, kernel, stays))))
    print_file("vm_run.exits.csv", None)
    out.writerow(("contender", "exits"))
    for name, command in contenders.items():
        out.writerow((name, exits_of(command)))


if __name__ == "__main__":
    main()
