#!/usr/bin/env python3
"""make_tars - layer archives for tests, the same bytes for the same seed.

    make_tars.py FOLDER [SEED]

Writes FOLDER/NAME.tar: `plain-*` are ordinary trees that GNU tar unpacks to what a layer means,
`layer-*` use whiteouts, `evil-*` must be refused, `odd-*` must be accepted and are compared as well.
"""
import io
import os
import random
import sys
import tarfile

BLOCK = 512


def header(name, size=0, flag=b"0", link=b"", mode=0o644, uid=0, gid=0, mtime=1700000000,
           magic=b"ustar\x0000", prefix=b"", major=0, minor=0, tail=None):
    """One raw header; numbers may be bytes, which are then taken as they are."""
    def number(value, width):
        if isinstance(value, bytes):
            return value.ljust(width, b"\0")[:width]
        return (b"%0*o" % (width - 1, value)) + b"\0"
    block = bytearray(BLOCK)
    block[0:len(name[:100])] = name[:100]
    block[100:108] = number(mode, 8)
    block[108:116] = number(uid, 8)
    block[116:124] = number(gid, 8)
    block[124:136] = number(size, 12)
    block[136:148] = number(mtime, 12)
    block[148:156] = b" " * 8
    block[156:157] = flag
    block[157:157 + len(link[:100])] = link[:100]
    block[257:257 + len(magic)] = magic
    block[329:337] = number(major, 8)
    block[337:345] = number(minor, 8)
    block[345:345 + len(prefix[:155])] = prefix[:155]
    if tail is not None:
        block[345:345 + len(tail)] = tail
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pad(data):
    return data + b"\0" * (-len(data) % BLOCK)


def entry(name, data=b"", **more):
    return header(name, len(data), **more) + pad(data)


def pax(records, flag=b"x"):
    text = b""
    for key, value in records:
        body = b" " + key + b"=" + value + b"\n"
        size = len(body) + 1
        while size != len(body) + len(b"%d" % size):
            size = len(body) + len(b"%d" % size)
        text += b"%d" % size + body
    return entry(b"pax", text, flag=flag)


def long_name(name, flag=b"L"):
    return entry(b"././@LongLink", name + b"\0", flag=flag, magic=b"ustar  \0")


END = b"\0" * 1024


def base256(value, width):
    raw = (value & ((1 << (8 * width)) - 1)).to_bytes(width, "big")
    return bytes([raw[0] | 0x80]) + raw[1:]


def random_tree(seed, fmt):
    """An ordinary tree with every type, long names, xattrs and odd times."""
    rng = random.Random(seed)
    out = io.BytesIO()
    tar = tarfile.open(fileobj=out, mode="w", format=fmt)
    dirs, files = [""], []
    is_pax = fmt == tarfile.PAX_FORMAT

    def info(name, kind):
        member = tarfile.TarInfo(name)
        member.type = kind
        member.mtime = rng.choice([0, 1, 1600000000, 1700000000]) if not is_pax else \
            rng.choice([0, -5, 1234567890.25, 4294967300, 1700000000.5])
        member.mode = rng.choice([0o644, 0o755, 0o4755, 0o600, 0o1777, 0o2755])
        member.uid, member.gid = rng.choice([0, 1000, 65534, 70000]), rng.choice([0, 5, 3000000])
        if is_pax and rng.random() < 0.3:
            member.pax_headers = {
                "SCHILY.xattr.user.a%d" % rng.randrange(9): "v" * rng.randrange(40),
                "SCHILY.xattr.trusted.t": "x",
                "SCHILY.xattr.security.moat": "secret",
            }
        return member

    def fresh(extra=""):
        length = rng.choice([1, 3, 8, 20, 60, 255])
        alphabet = "abc-.!_+0" if rng.random() < 0.5 else "xyzäß "
        while True:
            name = "".join(rng.choice(alphabet) for _ in range(length))
            name = name.encode()[:255].decode("utf-8", "ignore") + extra
            path = rng.choice(dirs) + name
            if name.strip(".") and not name.startswith(".wh.") and path not in seen:
                seen.add(path)
                return path
    seen = set()
    for _ in range(400):
        what = rng.random()
        if what < 0.25:
            member = info(fresh(), tarfile.DIRTYPE)
            member.mode |= 0o700
            tar.addfile(member)
            dirs.append(member.name + "/")
        elif what < 0.75:
            member = info(fresh(), tarfile.REGTYPE)
            data = rng.randbytes(rng.choice([0, 1, 511, 512, 513, 4095, 4096, 4097, 70000]))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            files.append(member.name)
        elif what < 0.83:
            member = info(fresh(), tarfile.SYMTYPE)
            member.pax_headers = {}
            member.linkname = rng.choice(["/etc/passwd", "..", "x" * 300, "a/b/c", "/" + "y" * 4000])
            tar.addfile(member)
        elif what < 0.9 and files:
            member = info(fresh(), tarfile.LNKTYPE)
            member.pax_headers = {}
            member.linkname = rng.choice(files)
            tar.addfile(member)
        else:
            kind = rng.choice([tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
            member = info(fresh(), kind)
            member.devmajor, member.devminor = rng.randrange(1, 4000), rng.randrange(1 << 20)
            if fmt == tarfile.USTAR_FORMAT or kind == tarfile.FIFOTYPE:
                member.devmajor, member.devminor = 5, 300
            tar.addfile(member)
    tar.close()
    return out.getvalue()


def wide_dir(count):
    return b"".join(entry(b"wide/file-%06d" % ((i * 7919) % count)) for i in range(count)) + END


def edges():
    """Symlinks and directories about as long as a block has room for behind the inode."""
    out = []
    for length in (*range(4030, 4036), 4095):
        records = [(b"linkpath", b"s" * length)]
        out.append(pax(records) + entry(b"link-%d" % length, flag=b"2"))
    for length in range(238, 248):  # with "." and "..", and 12 bytes for each, the names take 4028 to 4037
        names = [b"%02d" % i + b"n" * 253 for i in range(14)] + [b"m" * length, b"o"]
        out += [pax([(b"path", b"dir-%d/" % length + name)]) + entry(b"f", b"x") for name in names]
    return b"".join(out) + END


def large_extents():
    """A sparse file for which large chunks are best, several to a run."""
    size = 6 << 30
    extents = [(1 << 30, 300 << 10), (4 << 30, 200 << 10), (size, 0)]
    records = [(b"GNU.sparse.size", b"%d" % size), (b"GNU.sparse.numblocks", b"3"),
               (b"GNU.sparse.name", b"sparse"),
               (b"GNU.sparse.map", b",".join(b"%d,%d" % pair for pair in extents))]
    data = b"".join(b"%07d\n" % (i * 8) for i in range(500 << 7))
    return pax(records) + entry(b"GNUSparseFile.0/sparse", data) + END


def old_gnu_sparse():
    def field(offset, size):
        return base256(offset, 12) + base256(size, 12)
    # 5 GiB, 5 extents: four in the header, one in an extension block.
    # GNU tar starts each extent on a block, so all but the last have whole ones.
    extents = [(0, 512), (4096, 4096), (1 << 30, 512), ((1 << 32) + 4096, 1024), ((5 << 30) - 3, 3)]
    data = b"".join(bytes([65 + i]) * size for i, (_, size) in enumerate(extents))
    tail = bytearray(167)
    for i, (offset, size) in enumerate(extents[:4]):
        tail[41 + 24 * i:65 + 24 * i] = field(offset, size)
    tail[137] = 1
    tail[138:150] = base256(5 << 30, 12)
    block = bytearray(BLOCK)
    block[0:24] = field(*extents[4])
    return header(b"sparse", len(data), b"S", magic=b"ustar  \0", tail=bytes(tail)) + \
        bytes(block) + pad(data) + END


def pax_sparse(version):
    size = (10 << 20) + 77
    extents = [(0, 512), (1 << 20, 4096), ((1 << 20) + 5120, 1024), (9 << 20, 1 << 16), (size, 0)]
    data = b"".join(bytes([97 + i]) * n for i, (_, n) in enumerate(extents))
    numbers = [b"%d" % n for pair in extents for n in pair]
    if version == 0:
        records = [(b"GNU.sparse.size", b"%d" % size), (b"GNU.sparse.numblocks", b"5")]
        for offset, count in extents:
            records += [(b"GNU.sparse.offset", b"%d" % offset),
                        (b"GNU.sparse.numbytes", b"%d" % count)]
    elif version == 1:
        records = [(b"GNU.sparse.size", b"%d" % size), (b"GNU.sparse.numblocks", b"5"),
                   (b"GNU.sparse.name", b"sparse"), (b"GNU.sparse.map", b",".join(numbers))]
    else:
        records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
                   (b"GNU.sparse.name", b"sparse"), (b"GNU.sparse.realsize", b"%d" % size)]
        data = pad(b"5\n" + b"\n".join(numbers) + b"\n") + data
    name = b"sparse" if version == 0 else b"GNUSparseFile.0/sparse"
    return pax(records) + entry(name, data) + END


def deep(levels, name):
    path = b"/".join([name] * levels)
    return pax([(b"path", path + b"/leaf")]) + entry(b"x", b"deep") + END


def ordinary():
    yield "plain-empty", END
    yield "plain-pax", random_tree(1, tarfile.PAX_FORMAT)
    yield "plain-pax2", random_tree(2, tarfile.PAX_FORMAT)
    yield "plain-gnu", random_tree(3, tarfile.GNU_FORMAT)
    yield "plain-wide", wide_dir(20000)
    yield "plain-sparse-old", old_gnu_sparse()
    for version in range(3):
        yield "plain-sparse-pax%d" % version, pax_sparse(version)
    yield "plain-sparse-large", large_extents()
    yield "plain-edges", edges()
    yield "plain-names", b"".join(entry(name) for name in
                                  (b"!", b".a", b"..b", b"-", b"...", b".-", b"\xff\xfe", b"a" * 99)) + END


def odd():
    """Accepted; what GNU tar makes of them is the same."""
    yield "odd-v7", entry(b"dir/", mode=0o755, magic=b"", flag=b"\0") + \
        entry(b"dir/file", b"seven", magic=b"", flag=b"\0") + END
    yield "odd-slashes", entry(b"/abs", b"1") + entry(b"./a//b/./c", b"2") + END
    yield "odd-twice", entry(b"f", b"old") + entry(b"f", b"new") + \
        entry(b"d/", flag=b"5", mode=0o700) + entry(b"d/k", b"kept") + \
        entry(b"d/", flag=b"5", mode=0o755) + END
    yield "odd-prefix", entry(b"name", b"p", prefix=b"some/prefix") + END
    yield "odd-base256", header(b"big", base256(3, 12), uid=base256(3000000, 8),
                                mtime=base256(-7, 12)) + pad(b"abc") + END
    yield "odd-long", long_name(b"l" * 255 + b"/" + b"m" * 200) + entry(b"x", b"long") + \
        long_name(b"t" * 400, b"K") + entry(b"s", flag=b"2") + END
    yield "odd-tail", entry(b"f", b"x") + END + b"garbage" * 1000
    yield "odd-no-end", entry(b"f", b"x")
    yield "odd-global", pax([(b"mtime", b"1000000000")], b"g") + entry(b"f", b"x") + \
        pax([(b"mtime", b"1.5")]) + entry(b"g", b"x") + entry(b"h", b"x") + END
    yield "odd-label", entry(b"volume", flag=b"V", magic=b"ustar  \0") + entry(b"f", b"x") + END
    yield "odd-contiguous", entry(b"f", b"x", flag=b"7") + END
    yield "odd-link-to-symlink", entry(b"s", flag=b"2", link=b"nowhere") + \
        entry(b"t", flag=b"1", link=b"s") + END


def layers():
    base = [entry(b"etc/", flag=b"5", mode=0o750, mtime=1111), entry(b"etc/passwd", b"root"),
            entry(b"etc/shadow", b"secret"), entry(b"etc/group", b"g"),
            entry(b"var/", flag=b"5", mode=0o711), entry(b"var/cache/", flag=b"5"),
            entry(b"var/cache/old", b"old"), entry(b"bin/", flag=b"5", mode=0o755),
            entry(b"bin/sh", b"#!" * 5000, mode=0o755),
            entry(b"bin/bash", flag=b"1", link=b"bin/sh"),
            entry(b"tofile/", flag=b"5"), entry(b"tofile/x", b"x"), entry(b"todir", b"file"),
            entry(b"gone/", flag=b"5"), entry(b"gone/a", b"a")]
    second = [entry(b"etc/.wh.shadow"), entry(b"etc/passwd", b"root:x"),
              entry(b"var/cache/", flag=b"5", mode=0o700), entry(b"var/cache/.wh..wh..opq"),
              entry(b"var/cache/new", b"new"), entry(b".wh.gone"), entry(b"tofile", b"now a file"),
              entry(b"todir/", flag=b"5", mode=0o755), entry(b"todir/in", b"in"),
              entry(b"etc/hostname", b"h"), entry(b".wh..wh.aufs"), entry(b".wh..wh.plnk/", flag=b"5"),
              entry(b".wh..wh.plnk/1.2", b"junk")]
    third = [entry(b"gone/b", b"b"), entry(b"bin/.wh.sh"), entry(b"opt/app/.wh.none"),
             entry(b".wh.etc"), entry(b"etc/", flag=b"5", mode=0o700), entry(b"etc/only", b"1"),
             entry(b"todir/.wh.in"), entry(b"var/.wh.cache"), entry(b"var/cache/again", b"again")]
    for number, members in enumerate((base, second, third), 1):
        yield "layer-%d" % number, b"".join(members) + END
    yield "layer-forged", pax([(b"SCHILY.xattr.trusted.overlay.opaque", b"y"),
                               (b"SCHILY.xattr.user.overlay.redirect", b"/etc"),
                               (b"SCHILY.xattr.user.kept", b"1")]) + \
        entry(b"dir/", flag=b"5", mode=0o755) + entry(b"dir/white", flag=b"3") + \
        entry(b"dir/null", flag=b"3", major=1, minor=3) + END
    yield "layer-symlink", entry(b"link", flag=b"2", link=b"/etc/../../etc") + \
        entry(b"link/passwd", b"inside") + entry(b"up", flag=b"2", link=b"../..") + \
        entry(b"up/top", b"t") + END


def evil():
    yield "evil-dotdot", entry(b"../x") + END
    yield "evil-dotdot-middle", entry(b"a/../../x") + END
    yield "evil-link-dotdot", entry(b"l", flag=b"1", link=b"../../etc/passwd") + END
    yield "evil-link-missing", entry(b"l", flag=b"1", link=b"nothing") + END
    yield "evil-link-dir", entry(b"d/", flag=b"5") + entry(b"l", flag=b"1", link=b"d") + END
    yield "evil-link-whiteout", entry(b".wh.w") + entry(b"l", flag=b"1", link=b"w") + END
    yield "evil-parent-file", entry(b"f", b"x") + entry(b"f/g", b"x") + END
    yield "evil-loop", entry(b"a", flag=b"2", link=b"b") + entry(b"b", flag=b"2", link=b"a") + \
        entry(b"a/x") + END
    yield "evil-checksum", b"x" + entry(b"f")[1:] + END
    yield "evil-truncated", entry(b"f", b"x" * 2000)[:1024]
    yield "evil-header", entry(b"f")[:300]
    yield "evil-lone-zero", entry(b"f") + b"\0" * 512 + entry(b"g") + END
    yield "evil-type", entry(b"f", flag=b"Q") + END
    yield "evil-multivolume", entry(b"f", flag=b"M") + END
    yield "evil-size", header(b"f", base256(-1, 12)) + END
    yield "evil-size-huge", header(b"f", base256(1 << 62, 12)) + END
    yield "evil-number", header(b"f", b"99zz") + END
    yield "evil-uid", entry(b"f", uid=base256((1 << 32) - 1, 8)) + END
    yield "evil-uid-pax", pax([(b"uid", b"4294967296")]) + entry(b"f") + END
    yield "evil-name-256", pax([(b"path", b"n" * 256)]) + entry(b"f") + END
    yield "evil-pax-length", entry(b"p", b"99 path=x\n", flag=b"x") + entry(b"f") + END
    yield "evil-pax-newline", entry(b"p", b"9 path=xy", flag=b"x") + entry(b"f") + END
    yield "evil-pax-zero", pax([(b"path", b"a\0b")]) + entry(b"f") + END
    yield "evil-pax-huge", header(b"p", 2 << 20, flag=b"x") + b"\0" * (2 << 20) + END
    yield "evil-longlink-huge", header(b"p", 1 << 20, flag=b"L") + b"a" * (1 << 20) + END
    yield "evil-symlink-empty", entry(b"s", flag=b"2") + END
    yield "evil-symlink-long", pax([(b"linkpath", b"t" * 4096)]) + entry(b"s", flag=b"2") + END
    yield "evil-root-file", entry(b".", b"x") + END
    yield "evil-whiteout-name", entry(b".wh.") + END
    yield "evil-whiteout-dotdot", entry(b"d/.wh...") + END
    yield "evil-whiteout-dir", entry(b".wh.d/f") + END
    yield "evil-device", entry(b"dev", flag=b"4", major=base256(5000, 8)) + END
    yield "evil-xattr", pax([(b"SCHILY.xattr.user.big", b"x" * 65536)]) + entry(b"f") + END
    yield "evil-sparse-order", pax([(b"GNU.sparse.size", b"100"), (b"GNU.sparse.map", b"50,5,0,5"),
                                    (b"GNU.sparse.name", b"s")]) + entry(b"s", b"0123456789") + END
    yield "evil-sparse-sum", pax([(b"GNU.sparse.size", b"100"), (b"GNU.sparse.map", b"0,5"),
                                  (b"GNU.sparse.name", b"s")]) + entry(b"s", b"0123456789") + END
    yield "evil-sparse-beyond", pax([(b"GNU.sparse.size", b"100"), (b"GNU.sparse.map", b"95,10"),
                                     (b"GNU.sparse.name", b"s")]) + entry(b"s", b"0123456789") + END
    yield "evil-sparse-empty-block", header(b"s", 0, b"S", magic=b"ustar  \0",
                                            tail=b"\0" * 137 + b"\1") + b"\0" * 2048 + END


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for make in (ordinary, odd, layers, evil):
        for name, data in make():
            with open(os.path.join(folder, name + ".tar"), "wb") as out:
                out.write(data)


if __name__ == "__main__":
    main()
