#!/usr/bin/env python3
"""tree_walk - all that can be seen of a file tree, so that two trees can be compared.

    tree_walk.py FOLDER

As a module: walk(folder) returns {path: facts}.  Paths may be longer than PATH_MAX: the walk goes by
descriptors.  Hard links are told by the first path of the same inode.
"""
import hashlib
import os
import stat
import sys


def sha256(fd):
    digest = hashlib.sha256()
    size = os.fstat(fd).st_size
    at = 0
    while at < size:
        try:  # holes of gigabytes are not worth reading
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            data = size
        if data - at > 1 << 26:
            digest.update(b"hole %d-%d" % (at >> 26, data >> 26))
            at = data & ~((1 << 26) - 1)
        os.lseek(fd, at, os.SEEK_SET)
        chunk = os.read(fd, 1 << 20)
        if not chunk:
            break
        digest.update(chunk)
        at += len(chunk)
    return digest.hexdigest()


def facts_of(dir_fd, name, status):
    path = b"/proc/self/fd/%d/%s" % (dir_fd, name)
    facts = {
        "mode": oct(status.st_mode), "uid": status.st_uid, "gid": status.st_gid,
        "mtime": status.st_mtime_ns,
        "xattrs": {key: os.getxattr(path, key, follow_symlinks=False)
                   for key in sorted(os.listxattr(path, follow_symlinks=False))},
    }
    if stat.S_ISREG(status.st_mode):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dir_fd)
        facts["size"] = status.st_size
        facts["sha256"] = sha256(fd)
        os.close(fd)
    elif stat.S_ISLNK(status.st_mode):
        facts["target"] = os.readlink(name, dir_fd=dir_fd)
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        facts["device"] = "%d:%d" % (os.major(status.st_rdev), os.minor(status.st_rdev))
    if not stat.S_ISDIR(status.st_mode):
        facts["links"] = status.st_nlink
    return facts


def is_listed_wrongly(entry, status):
    """Whether the directory gives another type than the inode: find and ls trust it."""
    said = [entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False), entry.is_symlink()]
    return said != [is_type(status.st_mode) for is_type in (stat.S_ISDIR, stat.S_ISREG, stat.S_ISLNK)]


def walk(folder):
    found, inodes = {}, {}
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    found[b""] = facts_of(root, b".", os.fstat(root))
    pending = [(b"", root)]
    while pending:
        path, fd = pending.pop()
        with os.scandir(fd) as listed:
            entries = sorted((os.fsencode(entry.name), entry) for entry in listed)
        for name, entry in entries:
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # overlayfs lists whiteouts of directories that only one layer has
            full = path + b"/" + name
            found[full] = facts_of(fd, name, status)
            if is_listed_wrongly(entry, status):
                found[full]["listed as another type"] = True
            if stat.S_ISDIR(status.st_mode):
                child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                pending.append((full, child))
            elif status.st_nlink > 1:
                inodes.setdefault(status.st_ino, []).append(full)
        os.close(fd)
    for paths in inodes.values():
        for path in paths:
            found[path]["same as"] = min(paths)
    return found


def differences(left, right, ignore=lambda path, key: False):
    """Lines that tell how right differs from left."""
    lines = []
    for path in sorted(left.keys() | right.keys()):
        if path not in right or path not in left:
            lines.append("%r is only in the %s" % (path, "first" if path in left else "second"))
            continue
        for key in sorted(left[path].keys() | right[path].keys()):
            a, b = left[path].get(key), right[path].get(key)
            if a != b and not ignore(path, key):
                lines.append("%r: %s is %r and %r" % (path[-80:], key, a, b))
    return lines


if __name__ == "__main__":
    for where, what in sorted(walk(sys.argv[1]).items()):
        print(where, what)
