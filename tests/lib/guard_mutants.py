#!/usr/bin/env python3
"""guard_mutants - takes one guard after another out of moat and expects the attack on it to get through.

    guard_mutants.py BUILD [PART-OF-A-NAME]

Every row of MUTANTS is a test of attack.bats and the changes that take away what holds its attack off;
each old text must stand in the source once, so the table follows the code.  In a build with them the test
must fail, and the file's first workload must run: a broken build does not count.

Attacks without a row have no guard to take away: archives are never unpacked (evil_tar, bombs; forged
attributes are layer_mutants'), labels, volumes and manifests of an image give no rights, no socket is
abstract.  Without a limit on processes the attack would be on this host.

Each build stands in an overlay above the checkout, in a mount namespace of its own: only what a change
touches is compiled again, and nothing of it stays.
"""
import ctypes
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.realpath(os.path.join(HERE, "../.."))
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18
libc = ctypes.CDLL(None, use_errno=True)

INIT, EXEC, SETUP, GUARD, TREE = ("src/container/%s.c" % name for name in (
    "container_init", "container_exec", "process_setup", "mount_guard", "mount_tree"))
PROFILE = "src/container/seccomp_default.def"
# Paths of an image are resolved as the host resolves its own.
UNROOTED = ("src/base/path.c", "open2(root, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)",
            'open2(root, path[strspn(path, "/")] == 0 ? "." : path + strspn(path, "/"), flags, mode, 0)')


def allow(call):
    """The change that lets the default profile allow a system call."""
    return (PROFILE, "/* processes */\n", '/* processes */\nSECCOMP_ALLOW("%s", -1)\n' % call)


MUTANTS = [
    ("proc_self_exe_cannot_be_written", [
        ("src/container/container_clone.c", "(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);", ""),
        (SETUP, "prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0", "prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0")]),
    ("only_listed_fds_reach_the_workload", [
        ("src/base/spawn.c", "fd_close_others(spawn->keep, spawn->keep_len)", "0"),
        (INIT, "fd_close_others(keep, ARRAY_LEN(keep))", "0 * (int)ARRAY_LEN(keep)"),
        (EXEC, "fd_close_others(&report_fd, 1)", "report_fd < 0 ? -1 : 0")]),
    ("workdir_through_fd_table_is_refused", [
        (SETUP, "if (fd < 0 || fchdir(fd) < 0)", "if (chdir(process->cwd) < 0)"),
        (SETUP, "now == NULL || now[0] != '/'", "false"),
        (SETUP, "if (fd < 0)\n\t\treturn err_sys(err, -fd, \"make",
         "if (fd < -9999)\n\t\treturn err_sys(err, -fd, \"make")]),
    ("volume_over_proc_is_refused", [
        (TREE, "fs.f_type == PROC_SUPER_MAGIC || path_is_below(mount->destination, \"/proc\")", "fs.f_type == 1")]),
    ("masked_paths_read_empty", [
        (GUARD, "i < spec->masked_paths.len", "i + 1 == 0")]),
    ("host_keys_are_not_visible", [allow("keyctl")]),
    ("dev_null_as_symlink_does_not_unmask", [
        ("src/container/devices.def", 'DEVICE("null",    S_IFCHR, 1, 3, 0666)', 'DEVICE("null", S_IFCHR, 1, 8, 0666)'),
        (GUARD, "!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)", "st.st_size < 0")]),
    ("dev_as_symlink_in_image_is_refused", [
        (TREE, "path_at_open_beneath(root_fd, path + 1, O_PATH, 0)", "path_at_open(root_fd, path, O_PATH, 0)")]),
    ("the default devices are Docker's and no more", [
        ("src/container/devices.def", "DEVICE(\"zero\"", "DEVICE(\"mem\", S_IFCHR, 1, 1, 0600)\nDEVICE(\"zero\"")]),
    ("mknod_of_root_disk_cannot_be_opened", [
        ("src/container/device_rules.def", "DEVICE_RULE(true, 'b', -1,  -1, DEVICE_MKNOD)",
         "DEVICE_RULE(true, 'b', -1,  -1, DEVICE_ALL)")]),
    ("the wall is Docker's: seccomp, capabilities, namespaces", [
        (SETUP, "r = capability_bound(&sets, err);", "r = 0;")]),
    ("inheritable_set_is_empty", [
        ("src/container/capability.c", "(uint32_t)sets->inheritable }", "(uint32_t)sets->bounding }")]),
    ("supplementary_groups_match_the_image", [
        (SETUP, "setgroups(user->groups_len, user->groups) < 0", "user->groups_len > 999")]),
    ("user_4294967296_is_refused", [
        ("src/container/container_user.c", "num_parse(text, 0, INT32_MAX, ret)",
         "num_parse(text, 0, INT64_MAX, ret)")]),
    ("release_agent_cannot_be_written", [
        ("src/container/default_mounts.def", '"ro,nosuid,noexec,nodev"', '"nosuid,noexec,nodev"')]),
    ("default_profile_denies_fsopen_and_userns", [allow("unshare")]),
    ("only_listed_socket_families_open", [allow("socket")]),
    ("tiocsti_is_denied", [
        (PROFILE, 'SECCOMP_REFUSE_IF("ioctl", 1, LOW_BITS, TIOCSTI, EPERM)\n', "")]),
    ("mount targets do not leave the root through the image's symlinks", [UNROOTED]),
    ("mount_target_swapped_in_a_loop_stays_inside", [UNROOTED]),
    ("host_user_cannot_walk_the_store", [
        ("src/engine/engine.c", "path_make_dirs(path, 0700, err)", "path_make_dirs(path, 0755, err)"),
        ("src/engine/engine.c", "path_make_dir(fd, subdirs[i], 0700)", "path_make_dir(fd, subdirs[i], 0755)")]),
    ("listing_evil_labels_prints_no_escape_byte", [
        ("src/base/quote.c", "if (code_point >= hidden[i].first",
         "if (code_point == 1 && code_point >= hidden[i].first")]),
    ("exhaust_logs", [
        ("src/monitor/cri_log.c", "log->size + len > log->max_bytes", "log->size + len > UINT64_MAX / 2")]),
]
# What a build without its guard leaves behind on the host.
LITTER = ["/var/tmp/in", "/var/tmp/in2", "/var/tmp/planted"]


def mount(source, target, kind, flags=0, data=""):
    if libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()) < 0:
        raise OSError(ctypes.get_errno(), "mount %s" % target)


def change(path, old, new):
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        text = file.read()
    if text.count(old) != 1:
        return "%s: %r stands there %d times" % (path, old, text.count(old))
    with open(os.path.join(TOP, path), "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))
    return None


def run_test(build, name):
    """What bats printed, and what is wrong with it or None."""
    # Not what bats tells its own children: it is started anew.
    env = {key: value for key, value in os.environ.items() if not key.startswith(("BATS_", "BASH_FUNC_"))}
    env["PATH"] = ":".join(path for path in env["PATH"].split(":") if "bats-core" not in path)
    env.update(MOAT_FILTER="^%s( |$|:)" % re.escape(name), MOAT_STAGE="guards", MOAT_RESULTS="")
    done = subprocess.run(["tools/system", build, "attack.bats"], cwd=TOP, env=env, text=True,
                          capture_output=True, timeout=300, check=False)
    if re.search(r"^ok 1 ", done.stdout, re.M):
        return done.stdout, "%s: passes without its guard" % name
    if not re.search(r"^not ok 1 %s" % re.escape(name), done.stdout, re.M):
        return done.stdout + done.stderr, "%s: did not run" % name
    return done.stdout, None


def judge(build, name, changes, upper):
    """One line that says what is wrong with this row's outcome, or None.  In a process of its own."""
    if libc.unshare(CLONE_NEWNS) < 0:
        raise OSError(ctypes.get_errno(), "make a mount namespace")
    mount("none", "/", "none", MS_REC | MS_PRIVATE)
    mount("guards", upper, "tmpfs")  # an upper directory may not stand below its lower one
    os.makedirs(upper + "/upper")
    os.makedirs(upper + "/work")
    state = os.path.join(TOP, "tests/.cache/run")
    keep = os.open(state, os.O_PATH)
    mount("guards", TOP, "overlay", 0, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work" % (TOP, upper, upper))
    mount("/proc/self/fd/%d" % keep, state, "none", MS_BIND)
    os.close(keep)
    os.chdir(TOP)
    for path, old, new in changes:
        said = change(path, old, new)
        if said:
            return said
    made = subprocess.run(["ninja", "-C", build, "moat", "moat-monitor"], text=True, capture_output=True, check=False)
    if made.returncode != 0:
        return "%s: does not compile: %s" % (name, made.stdout[-2000:])
    printed, said = run_test(build, name)
    for path in LITTER:
        if os.path.isdir(path):
            os.rmdir(path)
        elif os.path.lexists(path):
            os.unlink(path)
    if os.environ.get("MOAT_VERBOSE") or said:
        print(printed)
    return said


def judge_apart(build, name, changes, upper):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = judge(build, name, changes, upper)
        except Exception as error:  # told like any other finding
            said = "%s: %s: %s" % (name, type(error).__name__, error)
        os.write(write, (said or "").encode())
        sys.stdout.flush()
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def main():
    build = sys.argv[1]
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    rows = [row for row in MUTANTS if wanted in row[0]]
    folder = os.path.join(TOP, "tests/.cache/run/guards.%d" % os.getpid())
    wrong = []
    for name, changes in rows:
        os.makedirs(folder)
        said = judge_apart(build, name, changes, folder)
        shutil.rmtree(folder)
        if said:
            wrong.append(said)
            print(said, flush=True)
    print("%d guards removed, %d attacks not seen" % (len(rows), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
