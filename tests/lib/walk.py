#!/usr/bin/env python3
"""walk - every name below a folder with all that lstat, the extended attributes and the content say: an
independent look for comparing two trees.  Hard links show as the first name of their inode."""
import hashlib
import os
import stat
import sys

# What an overlay shows of itself, and what the host adds, is not the image's.
HIDDEN = ('trusted.overlay.', 'user.overlay.', 'security.selinux')


def attributes(path):
    found = []
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        if not name.startswith(HIDDEN):
            found.append(f'{name}={os.getxattr(path, name, follow_symlinks=False).hex()}')
    return ','.join(found)


def content(path, info):
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(path)
    if stat.S_ISREG(info.st_mode):
        hasher = hashlib.sha256()
        with open(path, 'rb') as file:
            while data := file.read(1 << 20):
                hasher.update(data)
        return f'{info.st_size} {hasher.hexdigest()}'
    if stat.S_ISBLK(info.st_mode) or stat.S_ISCHR(info.st_mode):
        return f'{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}'
    return ''


def walk(top):
    seen = {}
    device = os.stat(top).st_dev  # top may be /proc/PID/root
    pending = ['.']
    while pending:
        name = pending.pop()
        path = os.path.join(top, name)
        info = os.lstat(path)
        first = seen.setdefault(info.st_ino, name) if info.st_nlink > 1 and not stat.S_ISDIR(
            info.st_mode) else name
        print(name, oct(info.st_mode), f'{info.st_uid}:{info.st_gid}', info.st_mtime_ns,
              f'={first}' if first != name else content(path, info), attributes(path))
        if stat.S_ISDIR(info.st_mode) and info.st_dev == device:
            pending += [os.path.join(name, n) if name != '.' else n
                        for n in sorted(os.listdir(path), reverse=True)]


walk(sys.argv[1])
