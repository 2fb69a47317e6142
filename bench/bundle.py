"""bundle - the prepared OCI bundle that crun and runc get: what Docker would write for the same run.

Namespaces, mounts, masks, capabilities, devices, limits and the seccomp profile are Docker's defaults,
so that all contenders build the same wall.  The profile is the file that Debian's containers-common
(podman's) ships, resolved for this architecture and these capabilities as dockerd does."""

import json
import pathlib

PROFILES = ("/usr/share/containers/seccomp.json", "/etc/containers/seccomp.json")
ARCHES = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
CAPABILITIES = """CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_MKNOD CAP_NET_RAW CAP_SETGID
    CAP_SETUID CAP_SETFCAP CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL
    CAP_AUDIT_WRITE""".split()

# The limits of every measured run; the shown values are checked (cases.py).
MEMORY, PIDS, CPU_QUOTA, CPU_PERIOD = 128 << 20, 64, 100000, 100000

SAFE = ["nosuid", "noexec", "nodev"]
MOUNTS = (
    ("/proc", "proc", "proc", SAFE),
    ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    ("/sys", "sysfs", "sysfs", [*SAFE, "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", [*SAFE, "ro"]),
    ("/dev/mqueue", "mqueue", "mqueue", SAFE),
    ("/dev/shm", "tmpfs", "shm", [*SAFE, "mode=1777", "size=65536k"]),
)
MASKED = """/proc/asound /proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list
    /proc/timer_stats /proc/sched_debug /proc/scsi /sys/firmware""".split()
READ_ONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger".split()
DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, None))


def rule_applies(rule):
    """Whether a row of the profile holds for this architecture and these capabilities."""
    wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
    if wanted.get("arches") and "amd64" not in wanted["arches"]:
        return False
    if "amd64" in (unwanted.get("arches") or []):
        return False
    if not set(wanted.get("caps") or []) <= set(CAPABILITIES):
        return False
    return not set(unwanted.get("caps") or []) & set(CAPABILITIES)


def seccomp():
    path = next((path for path in PROFILES if pathlib.Path(path).exists()), None)
    if path is None:
        raise SystemExit(f"bench: no seccomp profile at {PROFILES[0]}: install podman")
    profile = json.loads(pathlib.Path(path).read_text())
    kept = ("names", "action", "args", "errnoRet")
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile.get("defaultErrnoRet", 1),
        "architectures": ARCHES,
        "syscalls": [
            {key: rule[key] for key in kept if rule.get(key)}
            for rule in profile["syscalls"]
            if rule_applies(rule)
        ],
    }


def config(rootfs, args):
    sets = ("bounding", "effective", "permitted")
    devices = [{"allow": False, "access": "rwm"}]
    devices += [{"allow": True, "type": kind, "access": "m"} for kind in "cb"]
    for major, minor in DEVICES:
        row = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        devices.append(row if minor is None else {**row, "minor": minor})
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(rootfs), "readonly": False},
        "hostname": "bundle",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {name: CAPABILITIES for name in sets},
        },
        "mounts": [
            {"destination": destination, "type": kind, "source": source, "options": options}
            for destination, kind, source, options in MOUNTS
        ],
        "linux": {
            "namespaces": [
                {"type": kind} for kind in ("mount", "pid", "network", "ipc", "uts", "cgroup")
            ],
            "resources": {
                "memory": {"limit": MEMORY},
                "pids": {"limit": PIDS},
                "cpu": {"quota": CPU_QUOTA, "period": CPU_PERIOD},
                "devices": devices,
            },
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    }


def bundle_write(folder, rootfs, args, filtered=True):
    document = config(rootfs, args)
    if filtered:
        document["linux"]["seccomp"] = seccomp()
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(document, indent=1))
