#!/usr/bin/env python3
"""layer_mutants - plants one bug after another in the writer of EROFS images and expects each to be seen.

    layer_mutants.py BUILD

Every row of MUTANTS is one change in one line of the writer's source, compiled into the layer tool of the
build directory BUILD.  fsck.erofs, or the walker's comparison with what GNU tar unpacks and overlayfs shows,
must object to what that tool writes, and to nothing that the unchanged one writes.  A change whose line is
not in the source once is an error: the table follows the code.
"""
import concurrent.futures
import os
import pickle
import shutil
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "../..")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "../unit/layer"))
BUILD = os.path.abspath(sys.argv[1])
sys.argv[1] = os.path.join(BUILD, "tests/unit/layer/layer_tool")
import test_layer_mount as mounted  # noqa: E402
import make_tars  # noqa: E402  (test_layer_mount adds its path)
import tree_walk  # noqa: E402

WRITE, XATTR, OUT = ("src/layer/erofs_%s.c" % name for name in ("write", "xattr", "out"))
MUTANTS = [
    # names and directories
    (WRITE, "(a.len > b.len) - (a.len < b.len)", "(a.len < b.len) - (a.len > b.len)"),
    (WRITE, "cursor->dots == 0 ? cursor->dir : dir->parent", "cursor->dir + 0 * dir->parent"),
    (WRITE, "case S_IFDIR: return 2;", "case S_IFDIR: return 1;"),
    (WRITE, "case S_IFLNK: return 7;", "case S_IFLNK: return 1;"),
    (WRITE, "memset(block + used, 0, EROFS_BLOCK - used);", "memset(block + used, 'x', EROFS_BLOCK - used);"),
    (WRITE, ".nid = htole64(inode->nid)", ".nid = htole64(inode->nid + 2)"),
    (WRITE, "htole16((uint16_t)name_at)", "htole16((uint16_t)(name_at + 1))"),
    (WRITE, "i < inode->size / EROFS_BLOCK; i++", "i + 1 < inode->size / EROFS_BLOCK; i++"),
    # where things stand
    (WRITE, "head + tail <= EROFS_BLOCK", "head + tail <= 2 * EROFS_BLOCK"),
    (WRITE, "inode->size / EROFS_BLOCK + (tail > 0 && !fits)", "inode->size / EROFS_BLOCK"),
    (WRITE, "if (len <= EROFS_BLOCK && position", "if (len < 64 && position"),
    (WRITE, "return inode->device_id;", "return inode->block;"),
    (WRITE, "inode->size > 0 ? inode->block : 0", "inode->size > 0 ? inode->block + 1 : 0"),
    (WRITE, "r = erofs_out_align(writer->out, EROFS_BLOCK, err);\n\t\t}", "r = 0;\n\t\t}"),
    (OUT, "erofs_out_zeros(out, alignment - past, err)", "erofs_out_zeros(out, past, err)"),
    # inodes
    (WRITE, "(uint16_t)(1 | inode->layout << 1)", "(uint16_t)(inode->layout << 1)"),
    (WRITE, ".mode = htole16(inode->mode)", ".mode = htole16(inode->mode & ~S_ISVTX)"),
    (WRITE, ".size = htole64(inode->size)", ".size = htole64((uint32_t)inode->size)"),
    (WRITE, ".uid = htole32(inode->uid)", ".uid = htole32((uint16_t)inode->uid)"),
    (WRITE, ".gid = htole32(inode->gid)", ".gid = htole32(inode->uid)"),
    (WRITE, "htole64((uint64_t)inode->mtime)", "htole64((uint32_t)inode->mtime)"),
    (WRITE, ".mtime_ns = htole32(inode->mtime_ns)", ".mtime_ns = htole32(inode->mtime_ns / 1000)"),
    (WRITE, ".links = htole32(inode->links)", ".links = htole32(1)"),
    # sparse files, and files of other images
    (WRITE, "inode->size == 0 ? 0 : ((inode->size - 1) >> bits) + 1", "inode->size >> bits"),
    (WRITE, "(inode->device != 0 ? EROFS_CHUNK_INDEXES : 0)", "0"),
    (WRITE, "htole16(inode->device) : 0", "htole16(1) : 0"),
    (WRITE, "i >= (uint64_t)runs[run].first + runs[run].count", "i > (uint64_t)runs[run].first + runs[run].count"),
    (WRITE, "run < runs_len && i >= runs[run].first)", "run < runs_len && i > runs[run].first)"),
    (WRITE, "(uint32_t)((i - runs[run].first) << inode->chunk_bits)", "(uint32_t)(i - runs[run].first)"),
    (WRITE, "inode->chunk_bits = whole_chunk_bits(inode->size);", "inode->chunk_bits = 0;"),
    # attributes
    (WRITE, "sizeof(struct erofs_xattr_header)) / 4 + 1)", "sizeof(struct erofs_xattr_header)) / 4)"),
    (XATTR, "{ 6, \"security.\" }", "{ 4, \"security.\" }"),
    (XATTR, "text_add(body, zeros, -body->len & 3);", "text_add(body, zeros, 0);"),
    (XATTR, ".value_len = htole16((uint16_t)value.len)", ".value_len = htole16((uint8_t)value.len / 2)"),
    (XATTR, "|| view_starts(name, \"user.overlay.\")", ""),
    (XATTR, "view_starts(name, \"trusted.overlay.\") ||", ""),
    (XATTR, "{ TREE_OPAQUE, \"trusted.overlay.opaque\", \"y\" }", "{ TREE_OPAQUE, \"trusted.overlay.opaque\", \"n\" }"),
    # the superblock
    (WRITE, "tree_inode_at(writer->tree, writer->tree->root)->nid)",
     "tree_inode_at(writer->tree, writer->tree->root)->nid + 1)"),
    (WRITE, ".meta_block = htole32(writer->meta_block)", ".meta_block = htole32(writer->meta_block + 1)"),
    (WRITE, "htole16((uint16_t)volume->devices_len)", "htole16((uint16_t)(volume->devices_len / 2))"),
    (WRITE, "0x82f63b78u", "0xedb88320u"),
]

SINGLE = ["plain-pax", "plain-edges", "plain-names", "some", "plain-sparse-old", "plain-sparse-large"]
MERGED = (["layer-1", "layer-2", "layer-3"], ["plain-pax", "plain-sparse-pax0"])
PARALLEL = 2


def look(expected):
    """Fails on the first image that is not what it must be."""
    for name in SINGLE:
        mounted.convert(name)
        mounted.fsck(name + ".img")
        with mounted.Mounted(name + ".img") as path:
            found = tree_walk.walk(path)
        loose = mounted.implied(found)
        lines = tree_walk.differences(expected[name], mounted.without_marks(found), lambda path, key:
                                      path in loose and key in ("mtime", "mode"))
        assert not lines, "%s: %s" % (name, lines[0])
    mounted.whiteouts_become_overlayfs_ones()
    mounted.forged_overlay_attributes_are_dropped()
    for names in MERGED:
        for name in names:
            mounted.convert(name)
        mounted.check_merge([name + ".img" for name in names], "merged")


def look_with(tool, expected):
    """What look() objects to, or ""."""
    folder = os.path.dirname(tool)
    for name in SINGLE + [name for names in MERGED for name in names] + ["layer-forged"]:
        if not os.path.lexists("%s/%s.tar" % (folder, name)):
            os.symlink(os.path.abspath(name + ".tar"), "%s/%s.tar" % (folder, name))
    os.makedirs(folder + "/nothing", exist_ok=True)
    done = subprocess.run([sys.executable, __file__, BUILD, tool, expected], cwd=folder, timeout=120,
                          capture_output=True, text=True)
    return done.stdout.strip() or (done.returncode and "ended with %d: %s" % (done.returncode, done.stderr)) or ""


def command(*words):
    subprocess.run(words, check=True, cwd=TOP, capture_output=True)


def compile_tool(folder, source, text):
    """The layer tool with one file of the library replaced by text."""
    here = os.path.join(folder, os.path.basename(source))
    with open(here, "w", encoding="utf-8") as out:
        out.write(text)
    tool = os.path.join(folder, "tool")
    libs = [os.path.join(BUILD, "src", "%s/libmoat-%s.a" % (name, name)) for name in ("layer", "base")]
    command("cc", "-std=gnu17", "-D_GNU_SOURCE", "-w", "-Isrc", "-o", tool, here,
            os.path.join(folder, "../main.o"), *libs, "-lzstd", "-llzma", "-llz4", "-ljson-c", "-lpthread", "-ldl")
    return tool


def judge(number, mutant, folder, expected):
    """One line that says what is wrong with this row's outcome, or None."""
    source, old, new = mutant
    text = open(os.path.join(TOP, source), encoding="utf-8").read()
    if old and text.count(old) != 1:
        return "%s: %r stands there %d times" % (source, old, text.count(old))
    here = os.path.join(folder, "mutant-%d" % number)
    os.mkdir(here)
    said = look_with(compile_tool(here, source, text.replace(old, new) if old else text), expected)
    if os.environ.get("MOAT_VERBOSE"):
        print(repr(new), "->", said[:150])
    shutil.rmtree(here)
    if old and not said:
        return "not seen: %s: %r in place of %r" % (source, new, old)
    return "the unchanged writer: %s" % said if said and not old else None


def main():
    folder = mounted.enter_sandbox()
    with open("some.tar", "wb") as out:
        out.write(make_tars.wide_dir(1500))
    command("cc", "-std=gnu17", "-D_GNU_SOURCE", "-Isrc", "-c", "-o", os.path.join(folder, "main.o"),
            "tests/lib/layer_tool.c")
    expected = os.path.join(folder, "expected")
    with open(expected, "wb") as out:
        pickle.dump({name: tree_walk.walk(mounted.untar(name)) for name in SINGLE}, out)
    rows = [(WRITE, "", "")] + MUTANTS
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        wrong = [line for line in pool.map(lambda row: judge(*row, folder, expected), enumerate(rows)) if line]
    print("\n".join(wrong + ["%d planted bugs, %d complaints" % (len(MUTANTS), len(wrong))]))
    mounted.leave_sandbox(folder)
    return 1 if wrong else 0


def look_here(tool, expected):
    """In a process of its own, that ends by a signal if what it reads has no end."""
    signal.alarm(60)
    mounted.TOOL = tool
    mounted.libc.unshare(mounted.CLONE_NEWNS)
    mounted.mount("none", "/", "none", mounted.MS_REC | mounted.MS_PRIVATE)
    with open(expected, "rb") as file:
        expected = pickle.load(file)
    try:
        look(expected)
    except Exception as error:  # whatever breaks has seen the bug
        print(type(error).__name__, str(error).replace("\n", " "))
    return 0


if __name__ == "__main__":
    sys.exit(look_here(*sys.argv[2:]) if len(sys.argv) > 2 else main())
