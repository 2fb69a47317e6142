#!/usr/bin/env python3
"""fake_kernel - files that look like a kernel and its modules, for tests of what is taken in and what
is refused; a machine can start only the packed ones with an END, which do nothing else.

  fake_kernel.py kernel RELEASE OUT                     a bzImage with nothing in it
  fake_kernel.py packed RELEASE OUT xz|gz|zst|lz4|broken [END]   a bzImage with an ELF program in it;
                                                        END: hang, spin, fault, reset or panic
  fake_kernel.py module RELEASE DEPENDS OUT             an ELF object with a .modinfo
  fake_kernel.py tree RELEASE DIR [LACKING]             DIR/vmlinuz and DIR/lib/modules/RELEASE with all
                                                        that a guest needs but LACKING
  fake_kernel.py deb DIR OUT [xz|gz|zst|none]           DIR as the files of a Debian package"""
import gzip
import io
import lzma
import os
import struct
import subprocess
import sys
import tarfile

BUILTIN = ['ext4', 'overlay']
MODULES = {'virtio': '', 'virtio_ring': 'virtio', 'virtio_pci': 'virtio,virtio_ring', 'virtio-rng': 'virtio',
           'vsock': '', 'vmw_vsock_virtio_transport': 'vsock,virtio', 'nd_pmem': '',
           'virtio_pmem': 'nd_pmem,virtio', 'virtio_blk': 'virtio', 'virtio_net': 'virtio', 'erofs': ''}
SUFFIXES = {'': bytes, '.xz': lzma.compress, '.gz': gzip.compress}


def kernel(release):
    image = bytearray(0x2000)
    image[0x1f1] = 4
    struct.pack_into('<H', image, 0x1fe, 0xaa55)
    image[0x200:0x202] = b'\xeb\x6a'
    image[0x202:0x206] = b'HdrS'
    struct.pack_into('<H', image, 0x206, 0x20f)
    struct.pack_into('<H', image, 0x20e, 0x600)
    image[0x211] = 1
    struct.pack_into('<I', image, 0x22c, 0x7fffffff)
    struct.pack_into('<H', image, 0x236, 1)
    struct.pack_into('<I', image, 0x238, 2047)
    struct.pack_into('<Q', image, 0x258, 0x1000000)
    struct.pack_into('<I', image, 0x260, 0x100000)
    version = f'{release} (fake) #1'.encode()
    image[0x800:0x800 + len(version)] = version
    return bytes(image)


def compressed(data, how):
    if how == 'lz4':
        return subprocess.run(['lz4', '-lqc'], input=data, stdout=subprocess.PIPE, check=True).stdout
    if how == 'zst':
        return subprocess.run(['zstd', '-qc'], input=data, stdout=subprocess.PIPE, check=True).stdout
    return SUFFIXES['.' + how](data)


# What it does, from the PVH entry: protected mode, no paging.
FAULT = b'\x0f\x01\x1d\x00\x01\x00\x01\x0f\x0b'  # lidt 0x1000100 (zeros); ud2: no handler, so a triple fault
ENDS = {
    'hang': b'\xf4\xeb\xfd',  # hlt; jmp
    'spin': b'\xeb\xfe',
    'fault': FAULT,
    'reset': b'\x66\xba\x02\x06\xb0\x01\xee\xf4\xeb\xfd',  # out 1 to ACPI's reset register
    # each byte at 0x1000200 to the serial port, up to a zero
    'panic': b'\xbe\x00\x02\x00\x01\xac\x84\xc0\x74\x07\x66\xba\xf8\x03\xee\xeb\xf4' + FAULT,
}


def elf(code):
    note = struct.pack('<III4sI', 4, 4, 18, b'Xen', 0x1000000)  # XEN_ELFNOTE_PHYS32_ENTRY
    at = 64 + 2 * 56
    return (struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1', 2, 62, 1, 0x1000000, 64, 0, 0, 64, 56, 2, 0, 0, 0)
            + struct.pack('<IIQQQQQQ', 1, 5, at, 0x1000000, 0x1000000, len(code), len(code), 4096)
            + struct.pack('<IIQQQQQQ', 4, 4, at + len(code), 0, 0, len(note), len(note), 4) + code + note)


def packed(release, out, how, end='hang'):
    code = ENDS[end].ljust(0x200, b'\0') + b'Kernel panic - not syncing: made up\r\n'
    program = elf(code.ljust(5000, b'\0'))
    tail = b'' if how == 'gz' else struct.pack('<I', len(program))
    payload = compressed(program, 'xz' if how == 'broken' else how) + tail
    if how == 'broken':
        payload = payload[:40] + b'damage' + payload[46:]
    image = bytearray(kernel(release)) + b'decompressor' + payload
    start = 5 * 512
    struct.pack_into('<II', image, 0x248, len(image) - len(payload) - start, len(payload))
    write(out, bytes(image))
    write(out + '.inside', program)


def module(release, depends):
    names = b'\0.shstrtab\0.modinfo\0'
    info = f'license=GPL\0depends={depends}\0vermagic={release} SMP\0'.encode()
    header = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1', 1, 62, 1, 0, 0, 64, 0, 64, 0, 0, 64, 3, 1)
    offset = 64 + 3 * 64

    def section(name, kind, at, size):
        return struct.pack('<IIQQQQIIQQ', name, kind, 0, 0, at, size, 0, 0, 1, 0)
    return (header + section(0, 0, 0, 0) + section(1, 3, offset, len(names))
            + section(11, 1, offset + len(names), len(info)) + names + info)


def write(path, data):
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with open(path, 'wb') as file:
        file.write(data)


def tree(release, top, lacking=None):
    write(f'{top}/vmlinuz', kernel(release))
    base = f'{top}/lib/modules/{release}'
    os.makedirs(base, exist_ok=True)
    for i, (name, depends) in enumerate(MODULES.items()):
        if name != lacking:
            suffix = list(SUFFIXES)[i % len(SUFFIXES)]
            write(f'{base}/kernel/{name[:3]}/{name}.ko{suffix}', SUFFIXES[suffix](module(release, depends)))
    write(f'{base}/modules.builtin',
          ''.join(f'kernel/fs/{name}.ko\n' for name in BUILTIN if name != lacking).encode())


def deb(top, out, how='xz'):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w') as tar:
        tar.add(top, '.')
    data = stream.getvalue()
    suffix = '' if how == 'none' else '.' + how
    if how != 'none':
        data = compressed(data, how)
    with open(out, 'wb') as file:
        file.write(b'!<arch>\n')
        for name, part in (('debian-binary', b'2.0\n'), ('control.tar', b'odd'), ('data.tar' + suffix, data)):
            file.write(f'{name:<16}{0:<12}{0:<6}{0:<6}{"100644":<8}{len(part):<10}`\n'.encode())
            file.write(part + b'\n' * (len(part) % 2))


command, *arguments = sys.argv[1:]
if command == 'kernel':
    write(arguments[1], kernel(arguments[0]))
elif command == 'module':
    write(arguments[2], module(arguments[0], arguments[1]))
else:
    {'tree': tree, 'deb': deb, 'packed': packed}[command](*arguments)
