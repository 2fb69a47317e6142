"""peers - what each world needs before anything can be timed in it, and the proof that it works."""

import dataclasses

# An address and a default route, as engines look for a free subnet and an uplink.
NETWORK = (
    "ip link set lo up",
    "ip link add uplink0 type veth peer name uplink1",
    "ip address add 10.254.254.1/24 dev uplink0",
    "ip link set uplink0 up",
    "ip link set uplink1 up",
    "ip route add default via 10.254.254.254",
)


@dataclasses.dataclass(frozen=True)
class Peer:
    needs: tuple = ()  # programs; where one is missing the contender takes no part
    start: tuple = ()  # commands, run once inside the world
    prove: str = ""  # must print "proven"
    version: str = ""


PEERS = {
    "moat": Peer(
        needs=("$moat_program",),
        start=("$moat load -i $busybox",),
        prove="$moat run --rm --network none $image echo proven",
        version="$moat version",
    ),
    "crun": Peer(
        needs=("crun",), prove="crun run --bundle $bundles/echo proof", version="crun --version"
    ),
    "runc": Peer(
        needs=("runc",), prove="runc run --bundle $bundles/echo proof", version="runc --version"
    ),
    "podman": Peer(
        needs=("podman", "conmon"),
        start=("$podman load -q -i $busybox",),
        prove="$podman run --rm --network none $image echo proven",
        version="podman --version",
    ),
    "docker": Peer(
        needs=("dockerd", "containerd", "docker", "runc"),
        start=("$peers/docker start $work/docker", "$docker load -q -i $busybox"),
        prove="$docker run --rm --network none $image echo proven",
        version="dockerd --version",
    ),
    "floor": Peer(prove="$floor $rootfs $work/floor $filter echo proven"),
    "nsenter": Peer(needs=("nsenter",), prove="echo proven", version="nsenter --version"),
    # Loading happens in worlds of its own: its stores are new each time.
    "load-moat": Peer(needs=("$moat_program",), version="$moat version"),
    "load-podman": Peer(needs=("podman",), version="podman --version"),
    "load-docker": Peer(needs=("dockerd", "containerd", "docker"), version="dockerd --version"),
    "load-floor": Peer(),
    "load-gzip": Peer(needs=("gzip", "sha256sum"), version="gzip --version"),
}
