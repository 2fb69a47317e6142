"""cases - the table of everything that is measured: one row per contender, and the goals.

Commands are written as for a shell and split into words without one.  `$name` is filled in by `run`;
`{n}` is the number of the sample.  before and after are not timed; prepare and finish happen once."""

import dataclasses

# Prints what the wall around it is made of: every timed sample of `run --rm` must show these.
PROOF = (
    "sh -c 'ls -l /proc/self/ns; exec cat /proc/self/status /proc/self/net/dev"
    " /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max"
    " /sys/fs/cgroup/cpu/cpu.cfs_quota_us'"
)
EXPECT = (
    "^Pid:[[:space:]]1$",
    "^CapEff:[[:space:]]00000000a80425fb$",
    "^CapBnd:[[:space:]]00000000a80425fb$",
    "^Seccomp:[[:space:]]2$",
    "^134217728$",
    "^64$",
    "^100000$",
)
# Compared with the world's own after the warm-up.
FRESH_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")

LIMITS = "-m 128m --pids-limit 64 --cpus 1"
# Docker and podman share the host's cgroup namespace on cgroup v1 unless told; podman keeps three
# capabilities fewer than Docker.
DOCKER_LIMITS = LIMITS + " --cgroupns private"
PODMAN_LIMITS = DOCKER_LIMITS + " --cap-add MKNOD,NET_RAW,AUDIT_WRITE"
SLEEP = "sleep 1000000"
# PID 1 ignores a signal that it does not handle.
OBEDIENT = """sh -c 'trap "exit 0" TERM; sleep 1000000 & wait'"""
BURST = 100


@dataclasses.dataclass(frozen=True)
class Contender:
    name: str
    run: str
    world: str = ""  # "": as the name
    before: tuple = ()
    after: tuple = ()
    prepare: tuple = ()
    finish: tuple = ()
    ask: str = ""  # what it prints becomes $target
    expect: tuple = None  # instead of the case's
    rounds: int = 20  # at most: some take minutes
    weigh: str = ""  # also measure the memory of the processes of this name
    count: int = 0  # how many of them there must be

    @property
    def in_world(self):
        return self.world or self.name


@dataclasses.dataclass(frozen=True)
class Part:
    """A row for each contender: a sample's amount is so many times `per` units."""

    name: str  # as in the samples
    unit: str
    per: int = 1000


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    title: str
    contenders: tuple
    expect: tuple = ()
    per: int = 1  # what the timed command does this often: reported as a rate
    in_lab: bool = False  # measured by `machines`, which has the commands
    parts: tuple = ()
    of_programs: bool = False  # measured by `guests`: each program against the host's


@dataclasses.dataclass(frozen=True)
class Goal:
    case: str
    figure: str  # "wall" or "cpu"
    against: str
    most: float  # moat's figure divided by the other's
    text: str


def repeat(times, command):
    """COMMAND, in which @ is 1 to TIMES, eight at a time."""
    return f"""sh -c 'seq {times} | xargs -P 8 -I @ {command} >/dev/null'"""


def moat(run, **more):
    return Contender("moat", "$moat " + run, **more)


def docker(run, **more):
    return Contender("docker", "$docker " + run, **more)


def podman(run, **more):
    return Contender("podman", "$podman " + run, **more)


def detached(engine, name, limits=LIMITS, command=SLEEP):
    return f"${engine} run -d --network none {limits} --name {name} $image {command}"


def bundled(engine, name, **more):
    """crun or runc: the command line is the same."""
    return Contender(engine, f"{engine} {name}", **more)


CASES = (
    Case(
        "run_rm_none",
        "`run --rm --network none`",
        (
            moat(f"run --rm --network none {LIMITS} $image {PROOF}"),
            Contender("floor", f"$floor $rootfs $work/floor $filter {PROOF}"),
            bundled("crun", "run --bundle $bundles/proof proof{n}"),
            Contender(
                "crun-bare",
                "crun run --bundle $bundles/proof-bare bare{n}",
                world="crun",
                expect=tuple(regex for regex in EXPECT if "Seccomp" not in regex),
            ),
            bundled("runc", "run --bundle $bundles/proof proof{n}"),
            podman(f"run --rm --network none {PODMAN_LIMITS} $image {PROOF}"),
            docker(f"run --rm --network none {DOCKER_LIMITS} $image {PROOF}"),
        ),
        expect=EXPECT,
    ),
    Case(
        "run_rm_bridge",
        "`run --rm` on the default network",
        (
            moat(f"run --rm {LIMITS} $image {PROOF}"),
            Contender("floor", f"$floor --bridge $rootfs $work/floor $filter {PROOF}"),
            podman(f"run --rm {PODMAN_LIMITS} $image {PROOF}"),
            docker(f"run --rm {DOCKER_LIMITS} $image {PROOF}"),
        ),
        expect=(*EXPECT, "^ *eth0:"),
    ),
    Case(
        "run_d",
        "`run -d`",
        (
            Contender("moat", detached("moat", "d{n}"), after=("$moat rm -f d{n}",)),
            bundled("crun", "run -d --bundle $bundles/sleep d{n}", after=("crun delete -f d{n}",)),
            bundled("runc", "run -d --bundle $bundles/sleep d{n}", after=("runc delete -f d{n}",)),
            Contender(
                "podman",
                detached("podman", "d{n}", PODMAN_LIMITS),
                after=("$podman rm -f -t 0 d{n}",),
            ),
            Contender(
                "docker", detached("docker", "d{n}", DOCKER_LIMITS), after=("$docker rm -f d{n}",)
            ),
        ),
    ),
    Case(
        "exec",
        "`exec true`",
        (
            moat(
                "exec target true",
                prepare=(detached("moat", "target"),),
                finish=("$moat rm -f target",),
                weigh="moat-monitor",
                count=1,
            ),
            Contender(
                "nsenter",
                "nsenter -t $target -m -u -i -n -p -C true",
                prepare=(
                    f"sh -c '$floor $rootfs $work/floor $filter {SLEEP} >/dev/null 2>&1 &'",
                    "sleep 0.3",
                ),
                ask="pgrep -n -x sleep",
                finish=("kill -KILL $target",),
            ),
            bundled(
                "crun",
                "exec target true",
                prepare=("crun run -d --bundle $bundles/sleep target",),
                finish=("crun delete -f target",),
            ),
            bundled(
                "runc",
                "exec target true",
                prepare=("runc run -d --bundle $bundles/sleep target",),
                finish=("runc delete -f target",),
            ),
            podman(
                "exec target true",
                prepare=(detached("podman", "target", PODMAN_LIMITS),),
                finish=("$podman rm -f -t 0 target",),
                weigh="conmon",
                count=1,
            ),
            docker(
                "exec target true",
                prepare=(detached("docker", "target", DOCKER_LIMITS),),
                finish=("$docker rm -f target",),
                weigh="containerd-shim",
                count=1,
            ),
        ),
    ),
    Case(
        "stop",
        "`stop` of a workload that obeys SIGTERM",
        (
            moat(
                "stop s{n}",
                before=(detached("moat", "s{n}", LIMITS, OBEDIENT),),
                after=("$moat rm s{n}",),
            ),
            podman(
                "stop s{n}",
                before=(detached("podman", "s{n}", PODMAN_LIMITS, OBEDIENT),),
                after=("$podman rm s{n}",),
            ),
            docker(
                "stop s{n}",
                before=(detached("docker", "s{n}", DOCKER_LIMITS, OBEDIENT),),
                after=("$docker rm s{n}",),
            ),
        ),
    ),
    Case(
        "burst",
        f"{BURST} x `run -d`, 8 at a time",
        (
            Contender(
                "moat",
                repeat(BURST, detached("moat", "b{n}-@")),
                after=(repeat(BURST, "$moat rm -f b{n}-@"),),
            ),
            Contender(
                "crun",
                repeat(BURST, "crun run -d --bundle $bundles/sleep b{n}-@"),
                after=(repeat(BURST, "crun delete -f b{n}-@"),),
            ),
            Contender(
                "crun-bare",
                repeat(BURST, "crun run -d --bundle $bundles/sleep-bare r{n}-@"),
                world="crun",
                after=(repeat(BURST, "crun delete -f r{n}-@"),),
            ),
            Contender(
                "runc",
                repeat(BURST, "runc run -d --bundle $bundles/sleep b{n}-@"),
                after=(repeat(BURST, "runc delete -f b{n}-@"),),
                rounds=10,
            ),
            Contender(
                "podman",
                repeat(BURST, detached("podman", "b{n}-@", PODMAN_LIMITS)),
                after=(repeat(BURST, "$podman rm -f -t 0 b{n}-@"),),
                rounds=3,
            ),
            Contender(
                "docker",
                repeat(BURST, detached("docker", "b{n}-@", DOCKER_LIMITS)),
                after=(repeat(BURST, "$docker rm -f b{n}-@"),),
                rounds=3,
            ),
        ),
        per=BURST,
    ),
    Case(
        "ps",
        "`ps` with 1000 workloads (docker and podman: with 100)",
        (
            moat(
                "ps",
                prepare=(repeat(1000, detached("moat", "p@")),),
                finish=(repeat(1000, "$moat rm -f p@"),),
                weigh="moat-monitor",
                count=1000,
            ),
            podman(
                "ps",
                prepare=(repeat(100, detached("podman", "p@", PODMAN_LIMITS)),),
                finish=(repeat(100, "$podman rm -f -t 0 p@"),),
                weigh="conmon",
                count=100,
            ),
            docker(
                "ps",
                prepare=(repeat(100, detached("docker", "p@", DOCKER_LIMITS)),),
                finish=(repeat(100, "$docker rm -f p@"),),
                weigh="containerd-shim",
                count=100,
            ),
        ),
    ),
    Case(
        "load",
        "`load` of a Debian image, 4 layers, on a fresh file system",
        (
            Contender(
                "moat",
                "$moat_fresh load -i $debian",
                world="load-moat",
                before=("$fresh $fresh_dir/moat",),
                after=("$fresh $fresh_dir/moat end",),
            ),
            Contender(
                "floor",
                "$floor_load $fresh_dir/floor/mnt $digests -- $layers",
                world="load-floor",
                before=("$fresh $fresh_dir/floor",),
                after=("$fresh $fresh_dir/floor end",),
            ),
            Contender(
                "floor-sync",
                "$floor_load --sync $fresh_dir/floor/mnt $digests -- $layers",
                world="load-floor",
                before=("$fresh $fresh_dir/floor",),
                after=("$fresh $fresh_dir/floor end",),
            ),
            Contender(
                "gzip+sha256sum",
                "sh -c 'cat $layers | gzip -dc | sha256sum'",
                world="load-gzip",
            ),
            Contender(
                "podman",
                "$podman_fresh load -q -i $debian",
                world="load-podman",
                before=("$fresh $fresh_dir/podman",),
                after=("$fresh $fresh_dir/podman end",),
                rounds=10,
            ),
            Contender(
                "docker",
                "$docker load -q -i $debian",
                world="load-docker",
                before=("$fresh $fresh_dir/docker", "$peers/docker start $fresh_dir/docker/mnt/data"),
                after=("$peers/docker stop", "$fresh $fresh_dir/docker end"),
                rounds=10,
            ),
        ),
    ),
    Case(
        "vm_run",
        "`run --rm --vm busybox true`, in the lab",
        tuple(Contender(name, "") for name in ("moat", "qemu-q35", "qemu-microvm")),
        in_lab=True,
    ),
    Case(
        "vm_net",
        "network of a machine, in the lab",
        tuple(Contender(name, "") for name in ("moat", "qemu", "qemu-vhost")),
        in_lab=True,
        parts=(Part("to the guest", "MB"), Part("to the host", "MB")),
    ),
    Case(
        "vm_disk",
        "disk of a machine, in the lab",
        tuple(Contender(name, "") for name in ("moat", "qemu")),
        in_lab=True,
        parts=(
            Part("read", "MB"),
            Part("write", "MB"),
            Part("random read", "requests"),
            Part("random write", "requests"),
        ),
    ),
    Case(
        "soft_guest",
        "programs in a machine on the software CPU",
        tuple(Contender(name, "") for name in ("host", "moat", "qemu-tcg")),
        of_programs=True,
    ),
)

GOALS = (
    Goal("run_rm_none", "wall", "crun", 1.0, "no slower than crun on a prepared bundle"),
    Goal("run_rm_none", "cpu", "docker", 1 / 20, "20 times less CPU than docker"),
    Goal("run_rm_bridge", "wall", "floor", 1.3, "within 1.3 of the floor program"),
    Goal("exec", "wall", "nsenter", 1.5, "within 1.5 of nsenter"),
    Goal("burst", "wall", "crun", 1.0, "at least crun's rate on a prepared bundle"),
    Goal("vm_run", "wall", "qemu-q35", 1.0, "a machine ahead of QEMU's q35"),
    Goal("vm_run", "wall", "qemu-microvm", 1.0, "a machine ahead of QEMU's microvm"),
    Goal("load", "wall", "floor", 1.2, "within 1.2 of inflate + SHA-256 + one write on two cores"),
)
# Kilobytes of PSS: of a monitor, and of a machine's process without the guest's memory.
MONITOR_GOAL_KIB = 0.1 * 1024
MACHINE_GOAL_KIB = 2 * 1024
