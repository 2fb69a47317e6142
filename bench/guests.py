#!/usr/bin/env -S python3 -B
"""guests - measures programs in a machine on the software CPU against the same programs on the host
and in QEMU's emulation: `bench/guests.py [ROUNDS]`.  Writes results/soft_guest.csv and RESULTS.md.

All have the same kernel, one processor, 512 MiB, and the same files, of Debian's packages; guest_work.c is
the list of what is done.  Each round starts them anew."""

import csv
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time

import report
from contender import TOP, WORK, facts_here, initramfs, kernel_of, moat_command, moat_do, rotated

HERE = pathlib.Path(__file__).resolve().parent
TREE = WORK / "tree"
MEMORY_MIB = 512
PACKAGES = "gcc,libc6-dev,openssl,perl,python3"
MODULES = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
while read -r module; do
	insmod "/lib/moat/$module"
done </lib/moat/modules.list
mkdir /root
mount -t ext4 /dev/vda /root || poweroff -f
mount -t proc proc /root/proc
mount -t devtmpfs dev /root/dev
chroot /root /guest_work
poweroff -f
"""
ONLY_TRUE = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox true
/bin/busybox poweroff -f
"""


def run(*command, **more):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, **more)


def debian():
    """A root file system with the programs, as a tar, made once."""
    tar = TOP / "tests" / ".cache" / "bench" / "guests.tar"
    if not tar.exists():
        tar.parent.mkdir(parents=True, exist_ok=True)
        listed = run("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", capture_output=True, text=True).stdout
        mirror = next(line.split()[0] for line in listed.splitlines() if line.split()[1:] == ["bookworm"])
        made = tar.with_suffix(".new.tar")
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", made, mirror)
        made.rename(tar)
    return tar


def prepare_image():
    """The programs and the list of them, in moat's store and as a folder and a disk."""
    tar = WORK / "guests.tar"
    shutil.copyfile(debian(), tar)
    run("cc", "-O2", "-static", "-o", WORK / "guest_work", HERE / "guest_work.c", "-lm")
    with tarfile.open(tar, mode="a") as file:
        file.add(WORK / "guest_work", "guest_work")
    moat_do("import", str(tar), "guests")
    TREE.mkdir()
    run("tar", "-C", TREE, "-xf", tar)
    run("mke2fs", "-q", "-t", "ext4", "-d", TREE, WORK / "disk", "2g")


def moat(*words):
    return moat_command("run", "--rm", "--vm", "--accel", "soft", "--network", "none", "-m", f"{MEMORY_MIB}m", *words)


def qemu(kernel, archive, *more):
    return [
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", f"{MEMORY_MIB}M",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
        "-kernel", kernel, "-initrd", archive, *more,
        "-append", "console=ttyS0 quiet panic=-1 reboot=t mitigations=off random.trust_cpu=on cryptomgr.notests",
    ]  # fmt: skip


def on_host():
    script = 'mount --rbind /dev "$0/dev"; mount -t proc proc "$0/proc"; exec chroot "$0" /guest_work'
    return ["unshare", "-m", "--propagation", "private", "taskset", "-c", "1", "sh", "-c", script, str(TREE)]


def parts_of(command):
    """What guest_work prints: pairs of a name and nanoseconds."""
    said = run(*command, capture_output=True, text=True, errors="replace").stdout
    found = [line.strip().split(": ") for line in said.splitlines() if ": " in line and not line.startswith("[")]
    return [(pair[0], int(pair[1])) for pair in found if len(pair) == 2 and pair[1].isdigit()]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    run(TOP / "tests" / "lib" / "images", "busybox", stdout=subprocess.DEVNULL)
    moat_do("load", "-q", "-i", str(TOP / "tests" / ".cache" / "images" / "busybox"))
    package = run(TOP / "tests" / "lib" / "kernel", capture_output=True, text=True).stdout.strip()
    moat_do("kernel", "import", package)
    kernel, modules = kernel_of()
    prepare_image()
    both = WORK / "both.cpio"
    both.write_bytes(pathlib.Path(modules).read_bytes() + pathlib.Path(initramfs("init", {"init": MODULES})).read_bytes())
    disk = ("-drive", f"file={WORK}/disk,if=none,id=disk,format=raw,cache=unsafe", "-device", "virtio-blk-pci,drive=disk")
    work = {"host": on_host(), "moat": moat("guests", "/guest_work"), "qemu-tcg": qemu(kernel, str(both), *disk)}
    true = {"moat": moat("busybox", "true"), "qemu-tcg": qemu(kernel, initramfs("true", {"init": ONLY_TRUE}))}
    samples = HERE / "results" / "soft_guest.csv"
    with samples.open("w") as file:
        given = facts_here(cpu_name())
        file.write(f"# {json.dumps(given, sort_keys=True)}\n")
        out = csv.writer(file, lineterminator="\n")
        out.writerow("case contender round wall_ns".split())
        for number in range(1, rounds + 1):
            for name in rotated(true, number):
                started = time.perf_counter_ns()
                run(*true[name], stdout=subprocess.DEVNULL)
                out.writerow(("from the command to the end of `true`", name, number, time.perf_counter_ns() - started))
            for name in rotated(work, number):
                print(f"guests: round {number} of {rounds}, {name}", file=sys.stderr)
                out.writerows((part, name, number, ns) for part, ns in parts_of(work[name]))
    report.write(HERE / "results", HERE / "RESULTS.md")
    moat_do("system", "prune")
    shutil.rmtree(WORK)


def cpu_name():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.split(": ")[1] for line in lines if line.startswith("model name"))


if __name__ == "__main__":
    main()
