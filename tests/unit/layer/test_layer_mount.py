#!/usr/bin/env python3
"""What the kernel shows of converted and merged layers, against GNU tar's unpacking of the same
archive and against overlayfs over the single layers.  Needs root and a kernel with EROFS; works in a
mount namespace of its own.  With MOAT_SLOW=1 also converts a million entries.

    test_layer_mount.py LAYER_TOOL
"""
import ctypes
import gzip
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "../../lib"))
import make_tars  # noqa: E402
import tree_walk  # noqa: E402

SKIP = 77
CLONE_NEWNS, MS_RDONLY, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 1, 0x4000, 1 << 18, 2
libc = ctypes.CDLL(None, use_errno=True)
TOOL = os.path.abspath(sys.argv[1])


def mount(source, target, kind, flags=0, options=""):
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), "%s on %s" % (source, target))


class Mounted:
    """An EROFS image, with its devices, for the length of a with statement."""
    def __init__(self, image, devices=()):
        self.image, self.devices = image, devices

    def __enter__(self):
        self.path = tempfile.mkdtemp(dir=".")
        mount(self.image, self.path, "erofs", MS_RDONLY,
              ",".join("device=" + device for device in self.devices))
        return self.path

    def __exit__(self, *unused):
        libc.umount2(self.path.encode(), MNT_DETACH)
        os.rmdir(self.path)


def tool(*args, fails=False, stdin=None):
    done = subprocess.run([TOOL, *args], capture_output=True, text=True, stdin=stdin)
    assert (done.returncode != 0) == fails, "%s: %d %s" % (args, done.returncode, done.stderr)
    return done.stderr if fails else dict(line.split("=") for line in done.stdout.split())


def convert(name, data=None):
    if data is not None:
        with open(name + ".tar", "wb") as out:
            out.write(data)
    return tool("convert", name + ".tar", "plain", name + ".img")


def fsck(image, *devices):
    if shutil.which("fsck.erofs"):
        subprocess.run(["fsck.erofs", *("--device=" + d for d in devices), image], check=True,
                       capture_output=True)


def untar(name):
    folder = "memory/" + name
    os.mkdir(folder)
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner",
                    "--delay-directory-restore", "-C", folder,
                    "-xpf", name + ".tar"], check=True, capture_output=True)
    return folder


def implied(found):
    """Directories that no entry of their layer names."""
    return {path for path, facts in found.items()
            if "trusted.overlay.moat.implicit" in facts["xattrs"]}


def without_marks(found):
    for facts in found.values():
        facts["xattrs"] = {key: value for key, value in facts["xattrs"].items()
                           if not key.startswith(("trusted.overlay.", "user.overlay."))}
    return found


def images_show_what_gnu_tar_unpacks():
    names = [name for make in (make_tars.ordinary, make_tars.odd) for name, _ in make()]
    for name in names:
        convert(name)
        fsck(name + ".img")
        expected = tree_walk.walk(untar(name))
        with Mounted(name + ".img") as path:
            found = tree_walk.walk(path)
        loose = implied(found)
        lines = tree_walk.differences(expected, without_marks(found), lambda path, key:
                                      path in loose and key in ("mtime", "mode"))
        assert not lines, "%s:\n%s" % (name, "\n".join(lines[:20]))


MOUNT_POINTS = {b"/dev": stat.S_IFDIR, b"/proc": stat.S_IFDIR, b"/sys": stat.S_IFDIR,
                b"/etc/hostname": stat.S_IFREG, b"/etc/hosts": stat.S_IFREG,
                b"/etc/resolv.conf": stat.S_IFREG}


def paths_beyond_path_max_are_kept():
    convert("deep", make_tars.deep(2500, b"level"))  # neither GNU tar nor fsck.erofs can do this
    for image, devices in (("deep.img", ()), ("deep.merged", ("deep.img",))):
        if devices:
            tool("merge", image, *devices)
        with Mounted(image, devices) as path:
            found = tree_walk.walk(path)
        added = len(MOUNT_POINTS) + 1 if devices else 0  # and /etc
        assert b"/level" * 2500 + b"/leaf" in found and len(found) == 2502 + added


def compressions_give_the_same_image():
    data = open("plain-pax.tar", "rb").read()
    with open("c.gz", "wb") as out:  # two members, then what a tape would leave
        out.write(gzip.compress(data[:100000]) + gzip.compress(data[100000:]) + b"\0" * 5000)
    subprocess.run(["zstd", "-qf", "plain-pax.tar", "-o", "c.zst"], check=True)
    first = tool("convert", "plain-pax.tar", "plain", "c0.img")
    for name, how in (("c.gz", "gzip"), ("c.zst", "zstd")):
        with open(name, "rb") as pipe:
            more = tool("convert", "-", how, "c1.img", "c.blob", stdin=pipe)
        assert more["diff_id"] == first["diff_id"]
        assert open("c1.img", "rb").read() == open("c0.img", "rb").read(), how
        assert open("c.blob", "rb").read() == open(name, "rb").read(), how


def evil_archives_are_refused():
    for name, _ in make_tars.evil():
        message = tool("convert", name + ".tar", "plain", "evil.img", fails=True)
        assert message.count("\n") == 1 and len(message) > 10, message


def whiteouts_become_overlayfs_ones():
    convert("layer-2")
    with Mounted("layer-2.img") as path:
        found = tree_walk.walk(path)
    assert found[b"/etc/shadow"]["device"] == "0:0" and found[b"/gone"]["device"] == "0:0"
    opaque = found[b"/var/cache"]["xattrs"]
    assert opaque == {"trusted.overlay.opaque": b"y", "user.overlay.opaque": b"y"}, opaque
    assert not [path for path in found if b".wh." in path]


def forged_overlay_attributes_are_dropped():
    convert("layer-forged")
    with Mounted("layer-forged.img") as path:
        found = tree_walk.walk(path)
    assert found[b"/dir"]["xattrs"] == {"user.kept": b"1"}, found[b"/dir"]
    assert b"/dir/white" not in found and found[b"/dir/null"]["device"] == "1:3"


def symlinked_parents_stay_inside():
    convert("layer-symlink")
    with Mounted("layer-symlink.img") as path:
        found = tree_walk.walk(path)
    assert b"/etc/passwd" in found and b"/top" in found
    assert found[b"/link"]["target"] == b"/etc/../../etc"


def check_merge(images, label):
    """The merged image against overlayfs over the same layers; returns what it shows."""
    tool("merge", label + ".merged", *images)
    fsck(label + ".merged", *images)
    mounts = [Mounted(image) for image in images]
    paths = [one.__enter__() for one in mounts]
    loose = set()
    for path in paths:
        loose |= implied(tree_walk.walk(path))
    os.mkdir("overlay")
    lower = ":".join(os.path.basename(path) for path in reversed(paths))
    mount("overlay", "overlay", "overlay", MS_RDONLY, "lowerdir=" + lower +
          ("" if len(paths) > 1 else ":nothing"))
    expected = without_marks(tree_walk.walk("overlay"))
    libc.umount2(b"overlay", MNT_DETACH)
    os.rmdir("overlay")
    for one in mounts:
        one.__exit__()
    with Mounted(label + ".merged", images) as path:
        merged = tree_walk.walk(path)
    # Where every container mounts something: added by the merge, and empty.
    for point, kind in MOUNT_POINTS.items():
        assert point in merged, point
        if point not in expected:
            assert int(merged[point]["mode"], 8) == kind | 0o755, (point, merged[point])
            del merged[point]
    if b"/etc" not in expected:
        del merged[b"/etc"]
    # Overlayfs counts names that are hidden, and does not know which directories are implied.
    lines = tree_walk.differences(expected, merged, lambda path, key:
                                  key in ("links", "same as") or
                                  (path in loose and key in ("mtime", "mode", "uid", "gid", "xattrs")))
    assert not lines, "%s:\n%s" % (label, "\n".join(lines[:20]))
    return merged


def merging_is_what_overlayfs_shows():
    for number in (1, 2, 3):
        convert("layer-%d" % number)
    merged = check_merge(["layer-1.img", "layer-2.img"], "two")
    # Implied by the second layer only, so it keeps what the first one says.
    assert merged[b"/etc"]["mode"] == oct(stat.S_IFDIR | 0o750), merged[b"/etc"]
    assert merged[b"/etc"]["mtime"] == 1111 * 10**9
    assert merged[b"/bin/sh"]["same as"] == b"/bin/bash" and merged[b"/bin/sh"]["links"] == 2
    merged = check_merge(["layer-1.img", "layer-2.img", "layer-3.img"], "three")
    assert merged[b"/bin/bash"]["links"] == 1 and b"/etc/passwd" not in merged
    assert b"/etc/only" in merged and b"/gone/b" in merged and b"/gone/a" not in merged
    assert sorted(path for path in merged if path.startswith(b"/var/cache/")) == \
        [b"/var/cache/again"]
    for name in ("plain-sparse-old", "plain-pax"):
        merged = check_merge([name + ".img"], "alone")
        assert not implied(merged)


def random_layer(rng):
    out, seen = [], set()
    for _ in range(rng.randrange(1, 25)):
        parts = [rng.choice([b"a", b"b", b"c"]) for _ in range(rng.randrange(1, 4))]
        path, what = b"/".join(parts), rng.random()
        # Neither below nor above what is no directory in this layer.
        if any(path == other or path.startswith(other + b"/") or
               (not is_dir and other.startswith(path + b"/")) or (is_dir is None)
               for other, is_dir in seen if not is_dir) or \
                (what >= 0.35 and any(other.startswith(path + b"/") or other == path
                                      for other, _ in seen)):
            continue
        if what < 0.35:
            out.append(make_tars.entry(path + b"/", flag=b"5", mode=rng.choice([0o700, 0o755])))
            seen.add((path, True))
            if rng.random() < 0.3:
                out.append(make_tars.entry(path + b"/.wh..wh..opq"))
        elif what < 0.6:
            parts[-1] = b".wh." + parts[-1]
            out.append(make_tars.entry(b"/".join(parts)))
            seen.add((path, False))
        elif what < 0.7:
            out.append(make_tars.entry(path, flag=b"2", link=b"x%d" % rng.randrange(9)))
            seen.add((path, False))
        else:
            out.append(make_tars.entry(path, rng.randbytes(rng.randrange(9000))))
            seen.add((path, False))
    return b"".join(out) + make_tars.END


def random_layers_merge_as_overlayfs_does():
    for seed in range(25):
        rng = random.Random(seed)
        images = []
        for number in range(rng.randrange(2, 6)):
            name = "r%d" % number
            convert(name, random_layer(rng))
            images.append(name + ".img")
        check_merge(images, "random")


def merging_is_deterministic():
    images = ["layer-1.img", "layer-2.img", "layer-3.img"]
    tool("merge", "m1", *images)
    tool("merge", "m2", *images)
    assert open("m1", "rb").read() == open("m2", "rb").read()


def planted_damage_is_seen():
    """The comparison itself works: one changed byte of data or of a time is reported."""
    data = make_tars.entry(b"file", b"find me", mtime=0x5eadbeef) + make_tars.END
    convert("p", data)
    expected = tree_walk.walk(untar("p"))
    image = open("p.img", "rb").read()
    for what, needle in (("sha256", b"find me"), ("mtime", (0x5eadbeef).to_bytes(8, "little"))):
        assert image.count(needle) == 1, what
        at = image.index(needle)
        with open("planted.img", "wb") as out:
            out.write(image[:at] + bytes([image[at] ^ 1]) + image[at + 1:])
        with Mounted("planted.img") as path:
            found = without_marks(tree_walk.walk(path))
        lines = tree_walk.differences(expected, found, lambda path, key: path == b"")
        assert len(lines) == 1 and what in lines[0], lines


def a_million_entries_fit_into_300_megabytes():
    if not os.environ.get("MOAT_SLOW"):
        return
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with os.fdopen(writer, "wb", buffering=1 << 20) as out:
            for i in range(1000000):
                out.write(make_tars.entry(b"dir%d/entry-%07d" % (i // 250000, i)))
            out.write(make_tars.END)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        result = tool("convert", "-", "plain", "million.img", stdin=pipe)
    os.waitpid(pid, 0)
    merged = tool("merge", "million.merged", "million.img")
    print("a million entries: %s KiB to convert, %s to merge" %
          (result["peak_kib"], merged["peak_kib"]))
    assert int(result["peak_kib"]) < 300000 and int(merged["peak_kib"]) < 300000
    with Mounted("million.merged", ["million.img"]) as path:
        assert len(os.listdir(path + "/dir3")) == 250000


TESTS = [
    images_show_what_gnu_tar_unpacks,
    paths_beyond_path_max_are_kept,
    compressions_give_the_same_image,
    evil_archives_are_refused,
    whiteouts_become_overlayfs_ones,
    forged_overlay_attributes_are_dropped,
    symlinked_parents_stay_inside,
    merging_is_what_overlayfs_shows,
    random_layers_merge_as_overlayfs_does,
    merging_is_deterministic,
    planted_damage_is_seen,
    a_million_entries_fit_into_300_megabytes,
]


def enter_sandbox():
    """A folder with the archives, in a mount namespace of its own; it is the working directory."""
    folder = tempfile.mkdtemp(prefix="moat-layer-")
    if libc.unshare(CLONE_NEWNS) < 0:
        raise OSError(ctypes.get_errno(), "needs a mount namespace")
    mount("none", "/", "none", MS_REC | MS_PRIVATE)
    os.chdir(folder)
    os.umask(0o022)
    # A tmpfs keeps every time, id, name and attribute that an archive may hold; an image cannot be
    # mounted from one.
    os.mkdir("nothing")
    os.mkdir("memory")
    mount("none", "memory", "tmpfs", 0, "size=8g")
    for make in (make_tars.ordinary, make_tars.odd, make_tars.layers, make_tars.evil):
        for name, data in make():
            with open(name + ".tar", "wb") as out:
                out.write(data)
    return folder


def leave_sandbox(folder):
    libc.umount2(b"memory", MNT_DETACH)
    os.chdir("/")
    shutil.rmtree(folder, ignore_errors=True)


def main():
    if os.geteuid() != 0 or "erofs" not in open("/proc/filesystems").read():
        print("needs root and EROFS")
        return SKIP
    folder = enter_sandbox()
    failed = 0
    for test in TESTS:
        try:
            test()
            print("ok", test.__name__)
        except (AssertionError, OSError, subprocess.CalledProcessError) as error:
            print("FAILED", test.__name__, error)
            failed += 1
    leave_sandbox(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
