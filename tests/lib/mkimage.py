#!/usr/bin/env python3
"""mkimage - writes OCI images by hand, byte for byte the same each time: no engine is involved, so
tests can have images that no engine would make.

  mkimage.py docker-archive|oci-folder|oci-tar|rootfs OUT [ENTRY ...] [CONFIG ...]

Entries, in order; the first layer is there from the start, --layer begins the next:
  --busybox                 Debian's static busybox with links for its applets, users and groups
  --tar FILE                the entries of a tar
  --dir PATH, --file PATH=TEXT, --exec PATH=TEXT, --copy PATH=HOSTFILE
  --symlink PATH=TARGET, --hardlink PATH=TARGET, --fifo PATH, --device PATH=MAJOR:MINOR
  --whiteout PATH, --opaque DIR
  --layer
Config: --env, --label (NAME=VALUE, repeated), --entrypoint, --cmd (JSON lists), --user, --workdir,
  --volume PATH, --stop-signal, --tag NAME:TAG (repeated)
Bytes: --layers plain|gzip|zstd (default plain for docker-archive, gzip for OCI),
  --gzip or --zstd (the whole archive)
Broken on purpose: --break blob-digest|config-digest|diff-id|missing-layer|truncated|two-meanings"""
import argparse
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile

EPOCH = 1700000000
CREATED = '2023-11-14T22:13:20Z'
OCI = 'application/vnd.oci.image.'
SUFFIX = {'plain': '', 'gzip': '+gzip', 'zstd': '+zstd'}
PASSWD = ('root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n'
          'alice:x:1000:1000:Alice:/home/alice:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n')
GROUP = ('root:x:0:\ndaemon:x:1:\naudio:x:29:alice\nalice:x:1000:\nstaff:x:50:alice,nobody\n'
         'nogroup:x:65534:\n')


def compress(data, how):
    if how == 'gzip':
        return gzip.compress(data, 6, mtime=0)
    if how == 'zstd':
        return subprocess.run(['zstd', '-q', '-c'], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


def digest(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


def document(value):
    return json.dumps(value, sort_keys=True, separators=(',', ':')).encode()


class Layer:
    """A tar in memory.  add() takes any header, also one that no tar program would write."""

    def __init__(self):
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode='w', format=tarfile.PAX_FORMAT)

    def add(self, name, kind=tarfile.REGTYPE, data=b'', mode=None, link='', uid=0, gid=0, device=(0, 0),
            pax=None, mtime=EPOCH):
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, len(data), link
        info.mode = mode if mode is not None else 0o755 if kind == tarfile.DIRTYPE else 0o644
        info.uid, info.gid, info.mtime = uid, gid, mtime
        info.devmajor, info.devminor = device
        info.pax_headers = pax or {}
        self.tar.addfile(info, io.BytesIO(data) if data else None)

    def copy(self, path):
        with tarfile.open(path) as source:
            for info in source:
                self.tar.addfile(info, source.extractfile(info) if info.isreg() else None)

    def busybox(self):
        program = next(p for p in ('/usr/bin/busybox', '/bin/busybox') if os.path.exists(p))
        for name in ('bin', 'dev', 'etc', 'home', 'proc', 'root', 'sys', 'tmp', 'usr', 'var', 'var/run',
                     'usr/bin', 'usr/sbin', 'sbin'):
            self.add(name, tarfile.DIRTYPE, mode={'tmp': 0o1777, 'root': 0o700}.get(name))
        self.add('home/alice', tarfile.DIRTYPE, uid=1000, gid=1000)
        with open(program, 'rb') as file:
            self.add('bin/busybox', data=file.read(), mode=0o755)
        applets = subprocess.run([program, '--list'], stdout=subprocess.PIPE, text=True, check=True)
        for name in sorted(set(applets.stdout.split()) - {'busybox'}):
            self.add('bin/' + name, tarfile.LNKTYPE, link='bin/busybox', mode=0o755)
        self.add('etc/passwd', data=PASSWD.encode())
        self.add('etc/group', data=GROUP.encode())

    def done(self):
        self.tar.close()
        return self.bytes.getvalue()


def fill(layer, word, value):
    """One entry option of the command line."""
    name, _, rest = (value or '').partition('=')
    name = name.lstrip('/')
    if word == 'busybox':
        layer.busybox()
    elif word == 'tar':
        layer.copy(value)
    elif word == 'dir':
        layer.add(name, tarfile.DIRTYPE)
    elif word in ('file', 'exec'):
        layer.add(name, data=rest.encode(), mode=0o755 if word == 'exec' else 0o644)
    elif word == 'copy':
        with open(rest, 'rb') as file:
            layer.add(name, data=file.read(), mode=os.stat(rest).st_mode & 0o7777)
    elif word == 'symlink':
        layer.add(name, tarfile.SYMTYPE, link=rest, mode=0o777)
    elif word == 'hardlink':
        layer.add(name, tarfile.LNKTYPE, link=rest.lstrip('/'))
    elif word == 'fifo':
        layer.add(name, tarfile.FIFOTYPE)
    elif word == 'device':
        layer.add(name, tarfile.CHRTYPE, device=tuple(int(n) for n in rest.split(':')))
    elif word == 'whiteout':
        folder, _, last = name.rpartition('/')
        layer.add((folder + '/' if folder else '') + '.wh.' + last)
    elif word == 'opaque':
        layer.add(name + '/.wh..wh..opq')


class Members:
    """Where an archive's members go: a folder or a tar."""

    def __init__(self, out, is_folder):
        self.out, self.is_folder = out, is_folder
        self.layer = Layer()

    def add(self, name, data):
        if self.is_folder:
            path = os.path.join(self.out, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'wb') as file:
                file.write(data)
        else:
            self.layer.add(name, data=data)

    def done(self, how, truncate):
        if self.is_folder:
            return
        data = compress(self.layer.done(), how)
        write(self.out, data[:len(data) * 2 // 3] if truncate else data)


def write(path, data):
    if path == '-':
        sys.stdout.buffer.write(data)
        return
    with open(path, 'wb') as file:
        file.write(data)


def config_of(options, diff_ids):
    inner = {'Env': options.env or ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin']}
    for key, value in (('Entrypoint', options.entrypoint), ('Cmd', options.cmd)):
        if value is not None:
            inner[key] = json.loads(value)
    for key, value in (('User', options.user), ('WorkingDir', options.workdir),
                       ('StopSignal', options.stop_signal)):
        if value is not None:
            inner[key] = value
    if options.label:
        inner['Labels'] = dict(pair.split('=', 1) for pair in options.label)
    if options.volume:
        inner['Volumes'] = {path: {} for path in options.volume}
    return document({'architecture': 'amd64', 'os': 'linux', 'created': CREATED, 'config': inner,
                     'rootfs': {'type': 'layers', 'diff_ids': diff_ids},
                     'history': [{'created': CREATED, 'created_by': 'mkimage'} for _ in diff_ids]})


def flip(text):
    return text[:-1] + ('0' if text[-1] != '0' else '1')


def docker_archive(options, layers, members):
    how = options.layers or 'plain'
    diff_ids = [digest(tar) for tar in layers]
    if options.broken == 'diff-id':
        diff_ids[0] = flip(diff_ids[0])
    names = []
    for index, tar in enumerate(layers):
        names.append(f'{digest(tar)[7:]}/layer.tar')
        if options.broken != 'missing-layer' or index > 0:
            members.add(names[-1], compress(tar, how))
    config = config_of(options, diff_ids)
    name = digest(config)[7:]
    if options.broken == 'config-digest':
        name = flip(name)
    members.add(name + '.json', config)
    members.add('manifest.json', document([
        {'Config': name + '.json', 'RepoTags': options.tag or None, 'Layers': names}]))


def oci(options, layers, members):
    how = options.layers or 'gzip'
    diff_ids = [digest(tar) for tar in layers]
    if options.broken == 'diff-id':
        diff_ids[0] = flip(diff_ids[0])

    def blob(data, media_type, wrong=False, missing=False):
        name = flip(digest(data)) if wrong else digest(data)
        if not missing:
            members.add('blobs/sha256/' + name[7:], data)
        return {'mediaType': media_type, 'digest': name, 'size': len(data)}

    members.add('oci-layout', document({'imageLayoutVersion': '1.0.0'}))
    config = blob(config_of(options, diff_ids), OCI + 'config.v1+json',
                  wrong=options.broken == 'config-digest')
    described = [blob(compress(tar, how), OCI + 'layer.v1.tar' + SUFFIX[how],
                      wrong=options.broken == 'blob-digest' and index == 0,
                      missing=options.broken == 'missing-layer' and index == 0)
                 for index, tar in enumerate(layers)]
    manifest = {'schemaVersion': 2, 'mediaType': OCI + 'manifest.v1+json', 'config': config,
                'layers': described}
    if options.broken == 'two-meanings':  # CVE-2021-41190: an index and a manifest in one document
        manifest['manifests'] = [dict(config, mediaType=OCI + 'manifest.v1+json')]
    pointer = blob(document(manifest), OCI + 'manifest.v1+json')
    pointer['platform'] = {'architecture': 'amd64', 'os': 'linux'}
    members.add('index.json', document({
        'schemaVersion': 2, 'mediaType': OCI + 'index.v1+json',
        'manifests': [dict(pointer, annotations={
            'org.opencontainers.image.ref.name': tag, 'io.containerd.image.name': tag})
            for tag in options.tag] or [pointer]}))


def parse(arguments):
    parser = argparse.ArgumentParser(usage=__doc__, allow_abbrev=False)
    parser.add_argument('kind', choices=['docker-archive', 'oci-folder', 'oci-tar', 'rootfs'])
    parser.add_argument('out')
    entries = []

    class Entry(argparse.Action):
        def __call__(self, _parser, _namespace, value, option=None):
            entries.append((option.lstrip('-'), value if value != [] else None))

    for word in ('busybox', 'layer'):
        parser.add_argument('--' + word, action=Entry, nargs=0)
    for word in ('tar', 'dir', 'file', 'exec', 'copy', 'symlink', 'hardlink', 'fifo', 'device',
                 'whiteout', 'opaque'):
        parser.add_argument('--' + word, action=Entry)
    for word in ('env', 'label', 'volume', 'tag'):
        parser.add_argument('--' + word, action='append', default=[])
    for word in ('entrypoint', 'cmd', 'user', 'workdir', 'stop-signal'):
        parser.add_argument('--' + word)
    parser.add_argument('--layers', choices=list(SUFFIX))
    parser.add_argument('--gzip', dest='whole', action='store_const', const='gzip', default='plain')
    parser.add_argument('--zstd', dest='whole', action='store_const', const='zstd')
    parser.add_argument('--break', dest='broken')
    return parser.parse_args(arguments), entries


def make(options, layers):
    """Writes the image of layers (bytes of plain tars) as options say."""
    if options.kind == 'rootfs':
        data = compress(layers[0], options.whole)
        write(options.out, data)
        return
    members = Members(options.out, options.kind == 'oci-folder')
    (docker_archive if options.kind == 'docker-archive' else oci)(options, layers, members)
    members.done(options.whole, options.broken == 'truncated')


def main(arguments):
    options, entries = parse(arguments)
    layers = [Layer()]
    for word, value in entries:
        if word == 'layer':
            layers.append(Layer())
        else:
            fill(layers[-1], word, value)
    make(options, [layer.done() for layer in layers])


if __name__ == '__main__':
    main(sys.argv[1:])
