#!/usr/bin/env python3
"""eviltars - images whose layers try to get out of their root, or are no tar at all:
`eviltars.py FOLDER SENTINEL` writes FOLDER/NN-NAME.tar, each a docker-archive with a busybox layer below
the evil one.  SENTINEL is an existing host file that none of them may touch or show.

A loader may refuse an image in one line, or load it; what it may never do is write, read or link
anything outside, crash, or take more than bounded time and memory (THREATS section 4, evil_tar_NN)."""
import os
import sys
import tarfile

import mkimage
from mkimage import Layer

DIR, SYM, LINK, FILE = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.REGTYPE
UP = '../' * 12


def rows(sentinel):
    """(name, entries): each entry is the arguments of Layer.add; bytes are taken as they are."""
    inside = sentinel.lstrip('/')
    folder = os.path.dirname(inside)
    yield 'dotdot', [(UP + inside, FILE, b'evil')]
    yield 'dotdot_in_the_middle', [('a/' + UP + inside, FILE, b'evil')]
    yield 'absolute', [('/' + inside, FILE, b'evil')]
    yield 'double_slash', [('//' + inside, FILE, b'evil')]
    yield 'dot_slash_dotdot', [('./' + UP + inside, FILE, b'evil')]
    yield 'dotdot_directory', [('..', DIR)]
    yield 'dot', [('.', FILE, b'evil')]
    yield 'root_as_file', [('/', FILE, b'evil')]
    yield 'root_as_symlink', [('./', SYM, b'', '/')]
    yield 'symlink_then_through', [('out', SYM, b'', '/' + folder), ('out/' + os.path.basename(inside), FILE, b'evil')]
    yield 'symlink_up_then_through', [('out', SYM, b'', UP + folder), ('out/' + os.path.basename(inside), FILE, b'evil')]
    yield 'symlink_chain', [('a', SYM, b'', 'b'), ('b', SYM, b'', UP), ('a/' + inside, FILE, b'evil')]
    yield 'symlink_loop', [('a', SYM, b'', 'b'), ('b', SYM, b'', 'a'), ('a/x', FILE, b'evil')]
    yield 'symlink_replaced_by_directory', [('d', SYM, b'', '/' + folder), ('d', DIR), ('d/x', FILE, b'')]
    yield 'directory_replaced_by_symlink', [('d', DIR), ('d/x', FILE, b''), ('d', SYM, b'', '/' + folder), ('d/evil', FILE, b'evil')]
    yield 'symlink_empty_target', [('a', SYM, b'', '')]
    yield 'symlink_long_target', [('a', SYM, b'', 'x' * 5000)]
    yield 'hardlink_dotdot', [('a', LINK, b'', UP + inside)]
    yield 'hardlink_absolute', [('a', LINK, b'', sentinel)]
    yield 'hardlink_through_symlink', [('out', SYM, b'', '/' + folder), ('a', LINK, b'', 'out/' + os.path.basename(inside))]
    yield 'hardlink_to_itself', [('a', LINK, b'', 'a')]
    yield 'hardlink_to_nothing', [('a', LINK, b'', 'nosuch')]
    yield 'hardlink_to_directory', [('d', DIR), ('a', LINK, b'', 'd')]
    yield 'hardlink_cycle', [('a', LINK, b'', 'b'), ('b', LINK, b'', 'a')]
    yield 'hardlink_written_after', [('a', SYM, b'', sentinel), ('b', LINK, b'', 'a'), ('b', FILE, b'evil')]
    yield 'whiteout_dotdot', [('.wh...', FILE, b'')]
    yield 'whiteout_dot', [('.wh..', FILE, b'')]
    yield 'whiteout_of_nothing', [('.wh.', FILE, b'')]
    yield 'whiteout_path_dotdot', [(UP + folder + '/.wh.' + os.path.basename(inside), FILE, b'')]
    yield 'whiteout_through_symlink', [('out', SYM, b'', '/' + folder), ('out/.wh.' + os.path.basename(inside), FILE, b'')]
    yield 'opaque_root', [('.wh..wh..opq', FILE, b'')]
    yield 'opaque_through_symlink', [('out', SYM, b'', '/' + folder), ('out/.wh..wh..opq', FILE, b'')]
    yield 'whiteout_as_directory', [('.wh.bin', DIR), ('.wh.bin/x', FILE, b'')]
    yield 'aufs_names', [('.wh..wh.aufs', FILE, b''), ('.wh..wh.plnk', DIR)]
    yield 'overlay_whiteout_device', [('bin', tarfile.CHRTYPE, b'')]
    yield 'name_too_long', [('n' * 256, FILE, b'')]
    yield 'name_empty', [('', FILE, b'evil')]
    yield 'name_with_newline_and_escape', [('a\n\x1b[31mb', FILE, b'')]
    yield 'name_with_invalid_utf8', [('a\udcff\udcfe', FILE, b'')]
    yield 'file_as_parent', [('f', FILE, b''), ('f/x', FILE, b'')]
    yield 'same_name_twice', [('f', FILE, b'one'), ('f', FILE, b'two'), ('f', DIR), ('f', FILE, b'three')]
    yield 'deep', [('/'.join(['d'] * 8000), DIR)]
    yield 'dev_as_symlink', [('dev', SYM, b'', '/' + folder)]
    yield 'proc_as_symlink', [('proc', SYM, b'', '/tmp')]
    yield 'sys_as_file', [('sys', FILE, b'evil')]
    yield 'etc_as_symlink', [('etc', SYM, b'', '/' + folder)]
    yield 'etc_hosts_as_symlink', [('etc/hosts', SYM, b'', sentinel), ('etc/resolv.conf', SYM, b'', sentinel), ('etc/hostname', SYM, b'', sentinel)]
    yield 'passwd_as_symlink', [('etc/passwd', SYM, b'', sentinel), ('etc/group', SYM, b'', '/proc/self/environ')]
    yield 'passwd_as_fifo', [('etc/passwd', tarfile.FIFOTYPE, b'')]
    yield 'disk_device', [('disk', tarfile.BLKTYPE, b'')]


def forged(layer):
    """Attributes that overlayfs obeys (CVE-2021-32760's family) must not come from an image."""
    for index, name in enumerate(('trusted.overlay.redirect', 'trusted.overlay.opaque',
                                  'user.overlay.redirect', 'trusted.overlay.metacopy',
                                  'trusted.overlay.origin')):
        layer.add(f'forged{index}', DIR, pax={'SCHILY.xattr.' + name: '/etc'})


def huge_size(layer):
    """A header that promises more bytes than follow."""
    info = tarfile.TarInfo('promise')
    info.size = 1 << 60
    layer.bytes.write(info.tobuf(tarfile.GNU_FORMAT))


def negative_size(layer):
    block = bytearray(tarfile.TarInfo('negative').tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b'\xff' * 12
    block[148:156] = b' ' * 8
    block[148:156] = b'%06o\0 ' % sum(block)
    layer.bytes.write(block)


def bad_pax(layer):
    for data in (b'99999999999999999999 path=x\n', b'5 a=b\n', b'0 x=y\n', b'9 path=\n', b'-5 a=b\n'):
        info = tarfile.TarInfo('pax')
        info.type, info.size = tarfile.XHDTYPE, len(data)
        layer.bytes.write(info.tobuf(tarfile.USTAR_FORMAT) + data.ljust(512, b'\0'))
        layer.add('after-pax')


def bad_sparse(layer):
    layer.add('sparse', data=b'1\n18446744073709551615\n18446744073709551615\n'.ljust(512, b'\0'), pax={
        'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'sparse',
        'GNU.sparse.realsize': '18446744073709551615'})


def bad_checksum(layer):
    block = bytearray(tarfile.TarInfo('checksum').tobuf(tarfile.USTAR_FORMAT))
    block[0] ^= 1
    layer.bytes.write(block)


def long_long_name(layer):
    """A GNU long name of many megabytes."""
    info = tarfile.TarInfo('././@LongLink')
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 64 << 20
    layer.bytes.write(info.tobuf(tarfile.GNU_FORMAT) + b'x' * info.size)
    layer.add('after')


def endless_pax(layer):
    for _ in range(20000):
        info = tarfile.TarInfo('pax')
        data = b'12 comment=\n'
        info.type, info.size = tarfile.XGLTYPE, len(data)
        layer.bytes.write(info.tobuf(tarfile.USTAR_FORMAT) + data.ljust(512, b'\0'))


RAW = (forged, huge_size, negative_size, bad_pax, bad_sparse, bad_checksum, long_long_name, endless_pax)


def archive(path, layers, tag):
    options, _ = mkimage.parse(['docker-archive', path, '--tag', tag, '--cmd', '["sh"]'])
    mkimage.make(options, layers)


def main(folder, sentinel):
    base = Layer()
    base.busybox()
    base = base.done()
    number = 0
    for name, entries in rows(sentinel):
        layer = Layer()
        for entry in entries:
            path, kind, data, link = entry + (b'', '')[len(entry) - 2:]
            layer.add(path, kind, data, link=link,
                      device=(8, 0) if kind == tarfile.BLKTYPE else (0, 0))
        archive(f'{folder}/{number:02}-{name}.tar', [base, layer.done()], f'evil:{number}')
        number += 1
    for write in RAW:
        layer = Layer()
        write(layer)
        archive(f'{folder}/{number:02}-{write.__name__}.tar', [base, layer.done()], f'evil:{number}')
        number += 1


if __name__ == '__main__':
    main(*sys.argv[1:])
