"""images - the archives that the engines load: a small busybox one and a large Debian one.

An archive is what `docker save` writes since version 25: an OCI layout with a manifest.json beside
it, so that every engine finds the form it knows.  Layers are gzip, blobs are named by digest, and
nothing depends on the clock: the same packages give the same bytes."""

import dataclasses
import gzip
import hashlib
import io
import json
import pathlib
import subprocess
import tarfile

BUSYBOX = pathlib.Path("/bin/busybox")
EPOCH = "2024-01-01T00:00:00Z"

# Four layers as a Dockerfile would make them, about 450 MB of tar: a base, two languages and git, a
# compiler, its C++ half.
DEBIAN_LAYERS = (
    """base-files bash coreutils dpkg libc6 libc-bin apt perl-base util-linux tar grep sed findutils
    login passwd mount debianutils dash gzip libstdc++6 libssl3 ca-certificates tzdata openssl
    libgnutls30 libsystemd0 iproute2 curl libcurl4""",
    """perl perl-modules-5.36 libperl5.36 python3.11-minimal libpython3.11-minimal
    libpython3.11-stdlib python3.11 git git-man""",
    """gcc-12 cpp-12 libgcc-12-dev libc6-dev linux-libc-dev binutils-x86-64-linux-gnu
    binutils-common libbinutils""",
    "g++-12 libicu72",
)

DIRECTORIES = "bin dev etc proc root run sys tmp var".split()
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"


def busybox_applets():
    listed = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split() if name != "busybox"]


def busybox_tar():
    """The root file system as an uncompressed tar, in memory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:

        def add(name, kind, mode=0o755, data=b"", link=""):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size, info.linkname = kind, mode, len(data), link
            info.mtime = 1704067200
            tar.addfile(info, io.BytesIO(data))

        for name in DIRECTORIES:
            add(name, tarfile.DIRTYPE)
        add("etc/passwd", tarfile.REGTYPE, 0o644, PASSWD.encode())
        add("etc/group", tarfile.REGTYPE, 0o644, GROUP.encode())
        add("bin/busybox", tarfile.REGTYPE, 0o755, BUSYBOX.read_bytes())
        for name in busybox_applets():
            add("bin/" + name, tarfile.SYMTYPE, 0o777, link="busybox")
    return out.getvalue()


def busybox_rootfs(folder):
    """The same as a folder, for contenders that know no images."""
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(busybox_tar())) as tar:
        tar.extractall(folder)


def busybox_archive(path, reference):
    layer = busybox_tar()
    archive_write(path, reference, [(gzip.compress(layer, 6, mtime=0), sha256(layer))], ["sh"])


@dataclasses.dataclass(frozen=True)
class Layer:
    path: pathlib.Path  # gzip
    diff_id: str
    tar_bytes: int


def debian_archive(path, reference, cache):
    """Writes the archive; returns its layers, which stay in the cache for the next run."""
    found = [
        debian_layer(number, names.split(), cache)
        for number, names in enumerate(DEBIAN_LAYERS, 1)
    ]
    blobs = [(layer.path.read_bytes(), layer.diff_id) for layer in found]
    archive_write(path, reference, blobs, ["bash"])
    return found


def debian_layer(number, names, cache):
    path = cache / f"layer{number}-{sha256(' '.join(names).encode())[-8:]}.tar.gz"
    if not path.exists():
        tar = layer_tar(packages_fetch(names, cache))
        path.write_bytes(gzip.compress(tar, 6, mtime=0))
    tar = gzip.decompress(path.read_bytes())
    return Layer(path, sha256(tar), len(tar))


def packages_fetch(names, cache):
    folder = cache / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    # apt's own user must be able to write here, or it warns for each file.
    command = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *names]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    found = {path.name.split("_")[0]: path for path in sorted(folder.glob("*.deb"))}
    return [found[name] for name in names]


def layer_tar(packages):
    seen, out = set(), io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as layer:
        for package in packages:
            content = subprocess.run(
                ["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True
            )
            with tarfile.open(fileobj=io.BytesIO(content.stdout)) as tar:
                for member in tar:
                    if member.name == "." or member.name in seen:
                        continue
                    seen.add(member.name)
                    layer.addfile(member, tar.extractfile(member) if member.isreg() else None)
    return out.getvalue()


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def document(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def archive_write(path, reference, layers, cmd):
    """layers: (gzip bytes, digest of the tar inside) from the base upwards."""
    config = document(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": EPOCH,
            "config": {"Cmd": cmd, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
            "history": [{"created": EPOCH, "created_by": "bench"} for _ in layers],
        }
    )
    kind = "application/vnd.oci.image."
    manifest = document(
        {
            "schemaVersion": 2,
            "mediaType": kind + "manifest.v1+json",
            "config": descriptor(kind + "config.v1+json", config),
            "layers": [descriptor(kind + "layer.v1.tar+gzip", data) for data, _ in layers],
        }
    )
    entry = descriptor(kind + "manifest.v1+json", manifest)
    entry["annotations"] = {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference,
    }
    index = {"schemaVersion": 2, "mediaType": kind + "index.v1+json", "manifests": [entry]}
    blobs = {blob_path(data): data for data in [config, manifest, *(data for data, _ in layers)]}
    docker = {
        "Config": blob_path(config),
        "RepoTags": [reference],
        "Layers": [blob_path(data) for data, _ in layers],
    }
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        members = {
            **blobs,
            "index.json": document(index),
            "manifest.json": document([docker]),
            "oci-layout": document({"imageLayoutVersion": "1.0.0"}),
        }
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))


def descriptor(media_type, data):
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


def blob_path(data):
    return "blobs/sha256/" + sha256(data).removeprefix("sha256:")
