# peers - images made by other people's programs: peer_NAME ROOTFS OUT makes an image of the root file
# system ROOTFS (a tar) with the program NAME and writes it as an archive to OUT.  Each works without
# a registry and leaves neither processes nor mounts; its state stands in a short temporary folder while
# it works (podman takes no run directory of more than 50 characters).
# shellcheck shell=bash

# All peers, with the kind of archive each one writes.
# shellcheck disable=SC2034 # for those who source this
peer_names='umoci skopeo buildah podman docker'

# peer_alone COMMAND ...: in namespaces of its own; the hybrid cgroup tree is hidden, at the sight of
# which several of them refuse to work.
peer_alone() {
	unshare --mount --net --propagation private -- sh -ec '
		ip link set lo up
		[ ! -d /sys/fs/cgroup/unified ] || umount -l /sys/fs/cgroup/unified 2>/dev/null ||
			mount -t tmpfs none /sys/fs/cgroup/unified
		exec "$@"' alone "$@"
}

peer_umoci() {
	local rootfs=$1 out=$2 work
	work=$(mktemp -d /tmp/peer.XXXXXX)
	umoci init --layout "$work/layout"
	umoci new --image "$work/layout:umoci"
	umoci raw add-layer --image "$work/layout:umoci" "$rootfs"
	umoci config --image "$work/layout:umoci" --config.cmd sh --config.env FROM=umoci
	umoci gc --layout "$work/layout"
	tar -C "$work/layout" -cf "$out" .
	rm -rf "$work"
}

peer_skopeo() {
	local rootfs=$1 out=$2 work
	work=$(mktemp -d /tmp/peer.XXXXXX)
	"$MOAT_TOP/tests/lib/mkimage.py" oci-folder "$work/layout" --tar "$rootfs" --cmd '["sh"]' \
		--env FROM=skopeo --tag skopeo
	skopeo --insecure-policy copy -q "oci:$work/layout:skopeo" "docker-archive:$out:moat/skopeo:latest"
	rm -rf "$work"
}

peer_buildah() {
	local rootfs=$1 out=$2 work
	work=$(mktemp -d /tmp/peer.XXXXXX)
	peer_alone sh -euc '
		out=$1 rootfs=$2 work=$3
		buildah() {
			command buildah --root "$work/root" --runroot "$work/run" --storage-driver vfs "$@"
		}
		container=$(buildah from scratch)
		buildah add -q "$container" "$rootfs" / >/dev/null
		buildah config --cmd sh --env FROM=buildah "$container"
		buildah commit -q --disable-compression=false "$container" moat/buildah >/dev/null
		buildah push -q moat/buildah "oci-archive:$out:moat/buildah:latest"
		buildah rm "$container" >/dev/null' buildah "$out" "$rootfs" "$work"
	rm -rf "$work"
}

# with_podman CODE ARGS ...: shell code with a podman whose state is gone afterwards.
with_podman() {
	local code=$1 work
	shift
	work=$(mktemp -d /tmp/peer.XXXXXX)
	peer_alone sh -euc '
		work=$1
		shift
		podman() {
			command podman --root "$work/root" --runroot "$work/run" --tmpdir "$work/tmp" \
				--storage-driver vfs --cgroup-manager cgroupfs --events-backend none "$@"
		}
		'"$code" podman "$work" "$@"
	rm -rf "$work"
}

peer_podman() {
	with_podman '
		podman import -q -c "CMD [\"sh\"]" -c "ENV FROM=podman" "$1" moat/podman >/dev/null
		podman save -q -o "$2" moat/podman' "$@"
}

# The same with a Docker daemon of its own, with its socket and state in the folder; it is ended, and
# waited for, before the function returns.
with_docker() {
	local code=$1 work
	shift
	work=$(mktemp -d /tmp/peer.XXXXXX)
	peer_alone sh -euc '
		work=$1
		shift
		export DOCKER_HOST="unix://$work/docker.sock"
		dockerd --data-root "$work/root" --exec-root "$work/exec" --pidfile "$work/pid" \
			-H "$DOCKER_HOST" --bridge none --iptables=false --ip6tables=false \
			--storage-driver vfs >"$work/log" 2>&1 &
		daemon=$!
		trap "kill $daemon; wait $daemon || :" EXIT
		tries=0
		until docker version >/dev/null 2>&1; do
			tries=$((tries + 1))
			if [ $tries -gt 300 ] || ! kill -0 $daemon; then
				tail "$work/log" >&2
				exit 1
			fi
			sleep 0.1
		done
		'"$code" docker "$work" "$@"
	rm -rf "$work"
}

peer_docker() {
	with_docker '
		docker import -c "CMD [\"sh\"]" -c "ENV FROM=docker" "$1" moat/docker >/dev/null
		docker save -o "$2" moat/docker' "$@"
}
