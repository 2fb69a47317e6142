#!/usr/bin/env -S python3 -B
"""machines - measures virtual machines, inside the lab (docs/lab.md): `bench/machines.py ROUNDS`,
started by `bench/machines`.  Prints what becomes files of results/: a line "== NAME", then the file.

Contenders start the same kernel with the same memory.  QEMU's guests have one file system, the
initramfs, with busybox in it and an init that runs `true` and switches off: no image, no overlay, no
vsock, no network, so they do less than moat's.  The lab is quiet otherwise, so CPU time is the whole
lab's; the exits are counted by the kernel's own trace event."""

import csv
import glob
import json
import os
import pathlib
import re
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
WORK = TOP / "tests" / ".cache" / "run" / "machines"
MOAT = [str(TOP / "build" / "moat"), "--root", str(WORK / "root"), "--run", "/run/moat-bench"]
MEMORY_MIB = 256
EXITS = pathlib.Path("/sys/kernel/tracing/events/kvm/kvm_exit")
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
%s
/bin/busybox poweroff -f
"""


def initramfs(name, command):
    folder = WORK / name
    for part in ("bin", "proc", "dev"):
        (folder / part).mkdir(parents=True)
    subprocess.run(["cp", "/bin/busybox", folder / "bin"], check=True)
    (folder / "init").write_text(INIT % command)
    (folder / "init").chmod(0o755)
    out = WORK / f"{name}.cpio"
    with out.open("wb") as file:
        pack = "find . | busybox cpio -o -H newc"
        subprocess.run(["sh", "-c", pack], cwd=folder, stdout=file, stderr=subprocess.DEVNULL, check=True)
    return str(out)


def qemu(machine, kernel, archive):
    return [
        "qemu-system-x86_64", "-machine", f"{machine},accel=kvm", "-cpu", "host", "-m", f"{MEMORY_MIB}M",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "null",
        "-kernel", kernel, "-initrd", archive,
        "-append", "console=ttyS0 quiet panic=-1 reboot=t tsc=reliable no_timer_check random.trust_cpu=on cryptomgr.notests",
    ]  # fmt: skip


def moat(*words):
    return [*MOAT, "run", "--vm", "--network", "none", "-m", f"{MEMORY_MIB}m", *words]


def busy_ns():
    """CPU time of everything in the lab, of guests too (which the kernel counts as user time)."""
    user, nice, system, _idle, _iowait, irq, softirq = map(
        int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + irq + softirq) * 10**9 // os.sysconf("SC_CLK_TCK")


def exits_counted(command):
    trigger = EXITS / "trigger"
    trigger.write_text("hist:keys=common_type")
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        hits = re.findall(r"Hits: (\d+)", (EXITS / "hist").read_text())
        return int(hits[-1])
    finally:
        trigger.write_text("!hist:keys=common_type")


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
    subprocess.run([*moat("-d", "--name", "weighed", "busybox", "sleep", "1000")], stdout=subprocess.DEVNULL, check=True)
    time.sleep(2)
    kib = own_memory_kib(pid_of("@vmm"))
    subprocess.run([*MOAT, "rm", "-f", "weighed"], stdout=subprocess.DEVNULL, check=True)
    return kib


def weigh_qemu(command):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    time.sleep(15)
    kib = own_memory_kib(process.pid)
    process.kill()
    process.wait()
    return kib


def version(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0]


def loop_s():
    started = time.perf_counter()
    sum(number * number for number in range(3_000_000))
    return time.perf_counter() - started


def facts():
    return {
        "commit": os.environ.get("MOAT_COMMIT", ""),
        "cpu": "QEMU in software",
        "cpus": os.cpu_count(),
        "date": os.environ.get("MOAT_DATE", ""),
        "host_loop_s": float(os.environ["MOAT_HOST_LOOP"]),
        "image": {},
        "kernel": os.uname().release,
        "load": os.getloadavg()[0],
        "memory_mib": int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1)) // 1024,
        "python_loop_s": loop_s(),
        "versions": {"moat": version(MOAT[0], "version"), "qemu": version("qemu-system-x86_64", "--version")},
    }  # fmt: skip


def main():
    if sys.argv[1] == "loop":
        print(loop_s())
        return
    rounds = int(sys.argv[1])
    WORK.mkdir(parents=True)
    subprocess.run([*MOAT, "load", "-q", "-i", f"{TOP}/tests/.cache/images/busybox"], stdout=subprocess.DEVNULL, check=True)
    unpacked = TOP / "tests" / ".cache" / "lab" / "kernel"
    (packed,) = glob.glob(f"{unpacked}/boot/vmlinuz-*")
    subprocess.run([*MOAT, "kernel", "import", packed, unpacked], stdout=subprocess.DEVNULL, check=True)
    (kernel,) = glob.glob(f"{WORK}/root/kernels/[0-9]*/vmlinux")
    once, stays = initramfs("once", "/bin/busybox true"), initramfs("stays", "/bin/busybox sleep 1000")
    microvm = "microvm,pic=off,pit=off,rtc=off,isa-serial=off"
    contenders = {
        "moat": moat("--rm", "busybox", "true"),
        "qemu-q35": qemu("q35", kernel, once),
        "qemu-microvm": qemu(microvm, kernel, once),
    }
    out = csv.writer(sys.stdout, lineterminator="\n")
    print("== vm_run.csv")
    print(f"# {json.dumps(facts(), sort_keys=True)}")
    out.writerow("case contender round wall_ns cpu_ns rusage_ns machine_ns quiet".split())
    for number in range(rounds + 1):
        names = list(contenders)
        for name in names[number % len(names):] + names[: number % len(names)]:  # fmt: skip
            busy, started = busy_ns(), time.perf_counter_ns()
            subprocess.run(contenders[name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
            wall = time.perf_counter_ns() - started
            time.sleep(0.5)
            busy = busy_ns() - busy
            if number > 0:  # the first is a warm-up
                out.writerow(("vm_run", name, number, wall, busy, busy, busy, 1))
    print("== vm_run.memory.csv")
    out.writerow(("contender", "processes", "pss_kib"))
    out.writerow(("moat", 1, weigh_moat()))
    out.writerow(("qemu-q35", 1, weigh_qemu(qemu("q35", kernel, stays))))
    out.writerow(("qemu-microvm", 1, weigh_qemu(qemu(microvm, kernel, stays))))
    print("== vm_run.exits.csv")
    out.writerow(("contender", "exits"))
    for name, command in contenders.items():
        out.writerow((name, exits_counted(command)))
    print("== end")


if __name__ == "__main__":
    main()
