#!/usr/bin/env -S python3 -B
"""report - writes RESULTS.md from the raw samples in results/: `bench/report.py`.

A figure is the median of its samples.  A ratio is paired: the median, over the rounds in which both
took part, of one contender's sample divided by the other's of the same round, which is firmer on a
shared machine than a ratio of medians."""

import copy
import csv
import json
import pathlib
import statistics

from cases import CASES, GOALS, MACHINE_GOAL_KIB, MONITOR_GOAL_KIB

OURS = "moat"
COLUMN = {"wall": "wall_ns", "cpu": "cpu_ns"}

HEAD = """# Figures

Written by `bench/report.py` from the samples in `bench/results/`; run `make bench` to measure anew.

Contenders take turns, one sample each per round, the order rotating, and each lives in cgroups, mounts
and a network of its own. *Wall* is the clock around the command. *CPU* is what everything involved
used from before the command until nothing moves any more: daemons, monitors, re-parented children,
the removal. Figures are medians. *Against moat* divides a contender's sample by moat's of the same
round: 2.0 means twice moat's. Only ratios within one table hold; the machine is shared.
"""

IN_LAB = """One boot of the lab: nested KVM on a processor in software. All guests have the same kernel,
256 MiB, one processor and the same programs; each round starts them anew. qemu is QEMU's q35 with
virtio-pci devices."""

EXPLAINED = {
    "run_rm_none": """Every sample's output shows Seccomp 2, Docker's 14 capabilities, the memory, CPU
and process limits, PID 1, and namespaces other than the caller's (`results/proof/`). crun and runc run
a prepared bundle: no image, no overlay, no records. The floor program makes the same wall with
straight system calls and does keep an overlay. crun compiles its seccomp filter anew each time, which is most
of its CPU time: crun-bare, without one, shows what is left.""",
    "run_rm_bridge": """The floor program adds a veth on a bridge, an address and a route.""",
    "exec": """nsenter only enters namespaces: no cgroup, no capabilities, no seccomp.""",
    "vm_run": """One boot of the lab: nested KVM on a processor in software. All start the same
uncompressed kernel with 256 MiB. moat brings up the image's EROFS file systems, an overlay, vsock and the
workload behind its container wall; QEMU's guests have an initramfs with busybox and an init that runs `true`
and switches off. CPU is the whole lab's.""",
    "vm_net": f"""{IN_LAB} iperf3 over a tap on moat's bridge, between the guest and the lab itself. *Per
second* is MB; CPU, the whole lab's, and exits are for 1000 of them.""",
    "vm_disk": f"""{IN_LAB} fio past the guest's page cache (libaio), on a file of its ext4 disk, which is a
file of the lab's and rests in the lab's page cache until the guest flushes: in blocks of 128 KiB, 8 at a
time (MB), and of 4 KiB, 16 at a time (requests). With moat an overlay stands above the ext4. CPU, the
whole lab's, and exits are for 1000 MB or 1000 requests.""",
    "soft_guest": """The same files, kernel, memory (512 MiB) and one processor: on the host, in moat's machine
without KVM, and under QEMU's TCG (q35, `-cpu max`). Of a call, a fault, a round trip or a whole command; for
the integer loop 50 million turns, for n-body 200,000 steps.""",
    "load": """The floor program inflates (isa-l), hashes and writes the same bytes on two cores; with
floor-sync (where it was measured) they are also on the disk before it ends, as moat's layers and blobs
are (docker's and podman's are not). moat writes the compressed blobs as well, and hashes them. Each
sample has a file system of its own.""",
}


class Samples:
    def __init__(self, path):
        with path.open() as file:
            self.facts = json.loads(file.readline().removeprefix("# "))
            self.rows = list(csv.DictReader(file))

    def part(self, name):
        """The samples of one part of the case."""
        chosen = copy.copy(self)
        chosen.rows = [row for row in self.rows if row["case"] == name]
        return chosen

    def contenders(self):
        return list(dict.fromkeys(sorted(row["contender"] for row in self.rows)))

    def by_round(self, contender, figure):
        return {
            row["round"]: int(row[COLUMN[figure]]) / float(row.get("amount", 1))
            for row in self.rows
            if row["contender"] == contender
        }

    def exits(self, contender):
        """Of guests, for what one figure is for."""
        rows = [row for row in self.rows if row["contender"] == contender]
        return statistics.median(int(row["exits"]) / float(row["amount"]) for row in rows)

    def count(self, contender):
        """How many; those whose world would not become quiet, so that CPU time lacks, are named."""
        rows = [row for row in self.rows if row["contender"] == contender]
        restless = sum(row.get("quiet") == "0" for row in rows)
        return f"{len(rows)} ({restless} restless)" if restless else str(len(rows))

    def median_ms(self, contender, figure):
        return statistics.median(self.by_round(contender, figure).values()) / 1e6

    def quartiles_ms(self, contender, figure):
        values = sorted(self.by_round(contender, figure).values())
        return values[len(values) // 4] / 1e6, values[(3 * len(values)) // 4] / 1e6

    def ratio(self, one, other, figure):
        """None where they never met."""
        a, b = self.by_round(one, figure), self.by_round(other, figure)
        met = [a[number] / b[number] for number in a if b.get(number)]
        return statistics.median(met) if met else None


def number(value):
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def machine(facts):
    return (
        f"{facts['date']}, moat at {facts['commit']}, Linux {facts['kernel']},"
        f" {facts['cpus']} x {facts['cpu']}, {facts['memory_mib']} MiB, load {facts['load']:.1f}"
    )


def goal_rows(found, memory):
    for goal in GOALS:
        samples = found.get(goal.case)
        ratio = samples.ratio(OURS, goal.against, goal.figure) if samples else None
        yield goal.text, goal.case, f"{goal.figure} {goal.most:.2f}", ratio, goal.most
    for name, rows in memory.items():
        for row in rows:
            if row["contender"] == OURS:
                each = int(row["pss_kib"]) / int(row["processes"])
                text, most = f"monitor memory with {row['processes']} running", MONITOR_GOAL_KIB
                if name == "vm_run":
                    text, most = "a machine's memory beyond its guest's", MACHINE_GOAL_KIB
                yield text, name, f"{most:.0f} KiB", each, most


def goals_table(found, memory):
    rows = []
    for text, case, limit, value, most in goal_rows(found, memory):
        verdict = "not measured" if value is None else "yes" if value <= most else "**no**"
        rows.append((text, f"`{case}`", limit, number(value), verdict))
    return table(("goal for moat", "case", "at most", "measured", "met"), rows)


def case_table(case, samples):
    names = [c.name for c in case.contenders if c.name in samples.contenders()]
    head = ["", "wall ms", "quartiles", "CPU ms", "wall against moat", "CPU against moat", "samples"]
    if case.per > 1:
        head.insert(1, "per second")
    rows = []
    for name in names:
        low, high = samples.quartiles_ms(name, "wall")
        row = [
            name,
            number(samples.median_ms(name, "wall")),
            f"{number(low)} - {number(high)}",
            number(samples.median_ms(name, "cpu")),
            *(number(samples.ratio(name, OURS, figure)) for figure in ("wall", "cpu")),
            samples.count(name),
        ]
        if case.per > 1:
            row.insert(1, number(case.per * 1000 / samples.median_ms(name, "wall")))
        rows.append(row)
    return table(head, rows)


def parts_table(case, samples):
    """As case_table, with a row for each part and contender."""
    rows = []
    for part in case.parts:
        of_part = samples.part(part.name)
        for name in (c.name for c in case.contenders if c.name in of_part.contenders()):
            low, high = (part.per * 1000 / ms for ms in of_part.quartiles_ms(name, "wall"))
            rows.append((
                f"{part.name}, {part.unit}",
                name,
                number(part.per * 1000 / of_part.median_ms(name, "wall")),
                f"{number(high)} - {number(low)}",
                number(of_part.median_ms(name, "cpu")),
                *(number(of_part.ratio(name, OURS, figure)) for figure in ("wall", "cpu")),
                number(of_part.exits(name)),
                of_part.count(name),
            ))  # fmt: skip
    head = "|per second|quartiles|CPU ms|wall against moat|CPU against moat|exits|samples".split("|")
    return table(("", *head), rows)


def microseconds(value):
    return number(value * 1000)


def programs_table(case, samples):
    """A row for each program, and the geometric means of the ratios."""
    rows = []
    for name in dict.fromkeys(row["case"] for row in samples.rows):
        part = samples.part(name)
        there = part.contenders()
        rows.append((
            name,
            *(microseconds(part.median_ms(c.name, "wall")) if c.name in there else "" for c in case.contenders),
            number(part.ratio(OURS, "host", "wall")),
            number(part.ratio("qemu-tcg", OURS, "wall")),
            str(len(part.by_round(OURS, "wall"))),
        ))  # fmt: skip
    return table(("us", "host", "moat", "qemu-tcg", "moat against host", "qemu-tcg against moat", "rounds"), rows)


def losses_line(case, samples):
    """Where moat is behind, in one line."""
    behind = []
    for part in case.parts:
        of_part = samples.part(part.name)
        for name in of_part.contenders():
            ratios = [(figure, of_part.ratio(OURS, name, figure)) for figure in COLUMN if name != OURS]
            worse = [f"{figure} {number(ratio)}" for figure, ratio in ratios if ratio and ratio > 1.05]
            if worse:
                behind.append(f"{part.name} {' and '.join(worse)} times {name}'s")
    return f"moat loses: {'; '.join(behind) or 'nowhere'}.\n"


def memory_table(what, rows):
    return table(
        (what, "processes", "KiB of PSS each"),
        [
            (row["contender"], row["processes"], number(int(row["pss_kib"]) / int(row["processes"])))
            for row in rows
        ],
    )


def exits_line(path):
    """How often the guest left its code, from reset to the end."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return "VM exits: " + ", ".join(f"{row['contender']} {row['exits']}" for row in rows) + ".\n"


def lab_line(facts):
    times = facts["python_loop_s"] / facts["host_loop_s"]
    return f"An integer loop of Python takes {times:.1f} times as long there as on the host.\n"


def image_line(image):
    sizes = f"{image['tar_bytes'] / 1e6:.0f} MB of tar, {image['gzip_bytes'] / 1e6:.0f} MB gzip"
    return f"The image has {image['layers']} layers, {sizes}.\n"


def write(results, path):
    found, memory = {}, {}
    for case in CASES:
        samples = results / f"{case.name}.csv"
        weighed = results / f"{case.name}.memory.csv"
        if samples.exists():
            found[case.name] = Samples(samples)
        if weighed.exists():
            with weighed.open() as file:
                memory[case.name] = list(csv.DictReader(file))
    parts = [HEAD, "## Goals\n", goals_table(found, memory)]
    for case in CASES:
        if case.name not in found:
            continue
        samples = found[case.name]
        parts += [f"## {case.title}\n", machine(samples.facts) + "\n"]
        if case.name in EXPLAINED:
            parts.append(EXPLAINED[case.name] + "\n")
        if samples.facts.get("image") and case.name == "load":
            parts.append(image_line(samples.facts["image"]))
        if case.of_programs:
            parts.append(programs_table(case, samples))
        elif case.parts:
            parts += [parts_table(case, samples), losses_line(case, samples)]
        else:
            parts.append(case_table(case, samples))
        if case.name in memory:
            what = "without its guest's memory" if case.in_lab else "monitors"
            parts.append(memory_table(what, memory[case.name]))
        counted = results / f"{case.name}.exits.csv"
        if counted.exists():
            parts.append(exits_line(counted))
        if case.in_lab:
            parts.append(lab_line(samples.facts))
        versions = ", ".join(f"{n}: {v}" for n, v in sorted(samples.facts["versions"].items()))
        parts.append(f"Versions: {versions}.\n")
    path.write_text("\n".join(parts))


if __name__ == "__main__":
    here = pathlib.Path(__file__).resolve().parent
    write(here / "results", here / "RESULTS.md")
