"""contender - what the measurements of machines have in common: moat's and QEMU's with the same kernel and
memory, and in the lab (docs/lab.md) the CPU time of the whole lab.  It is quiet otherwise, so that is
the CPU time of all who take part."""

import contextlib
import glob
import json
import os
import pathlib
import re
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
WORK = TOP / "tests" / ".cache" / "run" / "machines"
MOAT = [str(TOP / "build" / "moat"), "--root", str(WORK / "root"), "--run", "/run/moat-bench"]
MEMORY_MIB = 256
EXITS = pathlib.Path("/sys/kernel/tracing/events/kvm/kvm_exit")


def initramfs(name, files):
    """An archive with busybox and files: what each path holds."""
    folder = WORK / name
    for part in ("bin", "proc", "dev"):
        (folder / part).mkdir(parents=True)
    subprocess.run(["cp", "/bin/busybox", folder / "bin"], check=True)
    for path, text in files.items():
        (folder / path).write_text(text)
        (folder / path).chmod(0o755)
    out = WORK / f"{name}.cpio"
    with out.open("wb") as file:
        pack = "find . | busybox cpio -o -H newc"
        subprocess.run(["sh", "-c", pack], cwd=folder, stdout=file, stderr=subprocess.DEVNULL, check=True)
    return str(out)


def qemu(machine, kernel, archive, *more, serial="null"):
    return [
        "qemu-system-x86_64", "-machine", f"{machine},accel=kvm", "-cpu", "host", "-m", f"{MEMORY_MIB}M",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", serial,
        "-kernel", kernel, "-initrd", archive, *more,
        "-append", "console=ttyS0 quiet panic=-1 reboot=t tsc=reliable no_timer_check random.trust_cpu=on cryptomgr.notests",
    ]  # fmt: skip


def moat_command(*words):
    return [*MOAT, *words]


def moat(*words):
    return moat_command("run", "--vm", "-m", f"{MEMORY_MIB}m", *words)


def moat_do(*words):
    subprocess.run(moat_command(*words), stdout=subprocess.DEVNULL, check=True)


def kernel_of():
    """The kernel that was imported, ready to start, and its modules."""
    (kernel,) = glob.glob(f"{WORK}/root/kernels/[0-9]*/vmlinux")
    return kernel, str(pathlib.Path(kernel).with_name("modules.cpio"))


def prepare(archive):
    """Loads an image and imports the lab's kernel; where the kernel is, and its modules."""
    WORK.mkdir(parents=True, exist_ok=True)
    moat_do("load", "-q", "-i", str(archive))
    unpacked = TOP / "tests" / ".cache" / "lab" / "kernel"
    (packed,) = glob.glob(f"{unpacked}/boot/vmlinuz-*")
    moat_do("kernel", "import", packed, str(unpacked))
    return kernel_of()


def rotated(names, number):
    """Names in the order of this round."""
    names = list(names)
    return names[number % len(names):] + names[: number % len(names)]  # fmt: skip


def busy_ns():
    """CPU time of everything in the lab, of guests too (which the kernel counts as user time)."""
    user, nice, system, _idle, _iowait, irq, softirq = map(
        int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + irq + softirq) * 10**9 // os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def exits_counted():
    """Counts by the kernel's own trace event: gives a function that tells how many so far."""
    trigger = EXITS / "trigger"
    trigger.write_text("hist:keys=common_type")
    try:
        yield lambda: int((re.findall(r"Hits: (\d+)", (EXITS / "hist").read_text()) or [0])[-1])
    finally:
        trigger.write_text("!hist:keys=common_type")


def version(*command):
    said = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return said[0] if said else ""


def loop_s():
    started = time.perf_counter()
    sum(number * number for number in range(3_000_000))
    return time.perf_counter() - started


def facts(**versions):
    """Of the lab: what it cannot see of the host stands in its environment."""
    return {
        **facts_here("QEMU in software", **versions),
        "commit": os.environ.get("MOAT_COMMIT", ""),
        "date": os.environ.get("MOAT_DATE", ""),
        "host_loop_s": float(os.environ["MOAT_HOST_LOOP"]),
        "python_loop_s": loop_s(),
    }


def facts_here(cpu, **versions):
    return {
        "commit": version("git", "-C", TOP, "rev-parse", "--short", "HEAD"),
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "date": time.strftime("%FT%T+00:00", time.gmtime()),
        "image": {},
        "kernel": os.uname().release,
        "load": os.getloadavg()[0],
        "memory_mib": int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1)) // 1024,
        "versions": {
            "moat": version(MOAT[0], "version"),
            "qemu": version("qemu-system-x86_64", "--version"),
            **versions,
        },
    }  # fmt: skip


def print_file(name, given):
    """Begins a file of results/: what is printed from here is in it."""
    print(f"== {name}")
    if given:
        print(f"# {json.dumps(given, sort_keys=True)}")
