#!/usr/bin/env bats
# images - archives made by hand and by other people's programs; what becomes of them, and what is refused.
# One wall: container, it is about images.
load ../lib/common

images_dir() {
	"$MOAT_TOP/tests/lib/images" "$1"
}

# Every name below a folder with what stat and the content say, for comparison.
walk() {
	python3 "$MOAT_TOP/tests/lib/walk.py" "$1"
}

# ---- loading ----

@test "load reads every kind of archive, from a file, a folder and standard input" {
	local path
	for path in "$(images_dir variants)"/*; do
		run -0 moat load -i "$path"
		[[ $output == *variant:* ]]
		[ "$(moat run --rm --network none "variant:${path##*/}" cat /etc/second)" = 'layer two' ]
		run -127 moat run --rm --network none "variant:${path##*/}" awk
		if [ -f "$path" ]; then
			run -0 moat load <"$path"
			run -0 bash -c "cat '$path' | '$MOAT' load"
		fi
	done
}

@test "load says what it loaded, -q says less" {
	run -0 moat load -i "$(images_dir busybox)"
	[[ $output == *'Loaded image: busybox:latest'* ]]
}

@test "an image without a name is known by its id" {
	"$MOAT_TOP/tests/lib/mkimage.py" docker-archive "$TEST_DIR/a" --busybox --label nameless=1
	run -0 moat load -i "$TEST_DIR/a"
	[[ $output == *'Loaded image ID: sha256:'* ]]
	local id=${output##*ID: }
	[ "$(moat run --rm --network none "$id" echo fine)" = fine ]
	[ "$(moat run --rm --network none "${id:7:12}" echo fine)" = fine ]
}

@test "images of umoci, skopeo, buildah, podman and docker load and run" {
	local peer said
	for peer in umoci skopeo buildah podman docker; do
		said=$(moat load -i "$(images_dir "peer-$peer")")
		# "Loaded image: NAME", or for a layout whose image has no full name "Loaded image ID: DIGEST".
		run -0 moat run --rm --network none "${said##*: }" sh -c 'echo $FROM; ls /bin | wc -l; id -un'
		[ "${lines[0]}" = "$peer" ]
		[ "${lines[1]}" -gt 250 ]
		[ "${lines[2]}" = root ]
	done
}

@test "a Debian image loads, runs, and is file by file what its layers say" {
	moat load -i "$(images_dir debian)"
	[[ $(moat run --rm --network none debian:12 cat /etc/debian_version) == 12.* ]]
	run -0 moat run --rm --network none debian:12 bash -c 'dpkg -l | grep -c ^ii; ls /srv /usr/share/doc'
	[[ $output != *motd*motd* ]]
}

@test "layers are compared with what GNU tar unpacks" {
	# The walker runs on both sides outside of moat; the workload only holds the root still.
	mkdir "$TEST_DIR/tree"
	tar -C "$TEST_DIR/tree" --delay-directory-restore --xattrs --xattrs-include='*' -xpf "$(images_dir rootfs)"
	local pid
	moat run -d --name held --network none busybox sleep 1000
	pid=$(of held State Pid)
	walk "$TEST_DIR/tree" | grep -vE '^(dev|proc|sys|etc/(hosts|hostname|resolv.conf))\b' >"$TEST_DIR/want"
	walk "/proc/$pid/root" | grep -vE '^(dev|proc|sys|etc/(hosts|hostname|resolv.conf)|etc |\. )' >"$TEST_DIR/have"
	grep -vE '^(etc |\. )' "$TEST_DIR/want" >"$TEST_DIR/want2"
	diff "$TEST_DIR/want2" "$TEST_DIR/have"
}

@test "every layer file passes fsck.erofs" {
	moat load -i "$(images_dir variants)/oci-tar-layers-gzip"
	local file checked=0
	while read -r file; do
		fsck.erofs "$file" >/dev/null
		checked=$((checked + 1))
	done < <(find "$MOAT_ROOT/layers" -type f)
	[ $checked -ge 2 ]
}

@test "the same bytes give the same layer and image files" {
	sum() {
		find "$MOAT_ROOT/layers" "$MOAT_ROOT/images" -type f -exec sha256sum {} + | awk '{ print $1 }' | sort | sha256sum
	}
	moat load -q -i "$(images_dir variants)/oci-tar-layers-plain"
	local first
	first=$(sum)
	remove_images
	moat load -q -i "$(images_dir variants)/oci-tar-layers-plain"
	[ "$(sum)" = "$first" ]
}

@test "loading twice changes nothing" {
	moat load -i "$(images_dir peer-docker)"
	leaks look >"$TEST_DIR/once"
	moat load -i "$(images_dir peer-docker)"
	leaks compare "$TEST_DIR/once"
}

@test "files, links, devices, fifos, times, attributes, capabilities and sparse files arrive" {
	mkdir -p "$TEST_DIR/t/deep" && cd "$TEST_DIR/t"
	echo content >file && touch -d '2001-02-03 04:05:06.123456789' file && chmod 4751 file && chown 12:34 file
	ln file hard && ln -s file soft && mkfifo fifo && mknod null c 1 3
	setfattr -n user.note -v value file && setcap cap_net_raw+ep file
	truncate -s 8M sparse && printf x | dd of=sparse bs=1 seek=5000000 conv=notrunc status=none
	touch "$(printf 'n%.0s' {1..255})"
	tar --format=posix --xattrs --xattrs-include='*' --sparse -cf "$TEST_DIR/t.tar" .
	cd / && mkdir "$TEST_DIR/u" && tar --xattrs --xattrs-include='*' -C "$TEST_DIR/u" -xpf "$TEST_DIR/t.tar"
	cp "$(images_dir rootfs)" "$TEST_DIR/root.tar"
	"$MOAT_TOP/tests/lib/mkimage.py" oci-tar "$TEST_DIR/i" --busybox --layer --tar "$TEST_DIR/t.tar" --tag kinds:1
	# mkimage passes what tarfile keeps; xattrs and sparse files come by import.
	tar -C "$TEST_DIR/u" --xattrs --xattrs-include='*' --sparse --format=posix -cf "$TEST_DIR/add.tar" .
	mkdir "$TEST_DIR/whole" && tar -C "$TEST_DIR/whole" -xpf "$TEST_DIR/root.tar"
	tar -C "$TEST_DIR/whole" --xattrs --xattrs-include='*' -xpf "$TEST_DIR/add.tar"
	tar -C "$TEST_DIR/whole" --xattrs --xattrs-include='*' --sparse --format=posix -cf "$TEST_DIR/all.tar" .
	moat import "$TEST_DIR/all.tar" kinds
	moat run -d --name held --network none kinds sleep 1000
	local root
	root=/proc/$(of held State Pid)/root
	diff <(walk "$TEST_DIR/whole" | grep -vE '^(dev|proc|sys|etc|\. )') \
		<(walk "$root" | grep -vE '^(dev|proc|sys|etc|\. )')
	[[ $(getcap "$root/file") == *cap_net_raw=ep* ]]
	[ "$(stat -c %s "$root/sparse")" -eq 8388608 ]
}

@test "whiteouts and opaque directories hide what lower layers have" {
	image layered --busybox --dir d --file d/low=1 --file gone=1 --dir e/f \
		--layer --whiteout gone --opaque d --dir d --file d/high=2 \
		--layer --whiteout e/f --file again=1 --layer --whiteout again --layer --file again=2
	run -0 moat run --rm --network none layered sh -c 'ls -d /gone 2>&1; ls /d; ls /e; cat /again' 
	[[ $output != */gone && $output == *high* && $output != *low* && $output != *f$'\n'* && $output == *2 ]]
}

@test "a path of more than 4096 bytes loads" {
	python3 - "$MOAT_TOP/tests/lib" "$TEST_DIR/long" <<-'END'
		import sys
		sys.path.insert(0, sys.argv[1])
		import mkimage, tarfile
		layer = mkimage.Layer()
		layer.busybox()
		name = 'deep'
		layer.add(name, tarfile.DIRTYPE)
		for _ in range(30):
		    name += '/' + 'x' * 200
		    layer.add(name, tarfile.DIRTYPE)
		layer.add(name + '/end', data=b'reached')
		options, _ = mkimage.parse(['docker-archive', sys.argv[2], '--tag', 'long:1'])
		mkimage.make(options, [layer.done()])
	END
	moat load -q -i "$TEST_DIR/long"
	[ "$(moat run --rm --network none long:1 sh -c 'cd /deep; i=0; while [ $i -lt 30 ]; do cd -P x*; i=$((i+1)); done; cat end')" = reached ]
}

@test "a file of more than 4 GiB keeps its size and its last byte" {
	truncate -s 4500M "$TEST_DIR/big" && printf z >>"$TEST_DIR/big"
	mkdir "$TEST_DIR/t" && tar -C "$TEST_DIR/t" -xf "$(images_dir rootfs)" && mv "$TEST_DIR/big" "$TEST_DIR/t/big"
	tar -C "$TEST_DIR/t" --sparse -cf "$TEST_DIR/sparse.tar" .
	moat import "$TEST_DIR/sparse.tar" big
	rm -rf "$TEST_DIR/t" "$TEST_DIR/sparse.tar"
	run -0 moat run --rm --network none big sh -c 'stat -c %s /big; tail -c 1 /big'
	[ "$output" = $'4718592001\nz' ]
}

@test "a file of more than 4 GiB whose every byte counts" {
	# A page of numbers, so that no piece is like another: 4097 MiB.
	cat >"$TEST_DIR/dense.py" <<-'END'
		import io, sys, tarfile
		class Dense(io.RawIOBase):
		    at = 0
		    def read(self, size):
		        text = b''.join(b'%015d\n' % (self.at + i) for i in range(0, 4096, 16)) * (size // 4096)
		        self.at += size
		        return text
		with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', copybufsize=1 << 16) as tar:
		    tar.add(sys.argv[1], 'bin/busybox')
		    info = tarfile.TarInfo('dense')
		    info.size = 4097 << 20
		    tar.addfile(info, Dense())
	END
	python3 "$TEST_DIR/dense.py" "$(command -v busybox)" | moat import - dense
	run -0 moat run --rm --network none dense /bin/busybox sh -c '
		for mib in 0 2048 4095 4096; do busybox dd if=/dense bs=1M skip=$mib count=1 2>/dev/null | busybox head -n 1; done
		busybox stat -c %s /dense'
	[ "$output" = $'000000000000000\n000002147483648\n000004293918720\n000004294967296\n4296015872' ]
}

@test "forty layers are one root" {
	local options=(--busybox) i
	for i in {1..40}; do
		options+=(--layer --file "l/$i=$i" --file "l/last=$i")
	done
	image forty "${options[@]}"
	[ "$(moat run --rm --network none forty sh -c 'ls /l | wc -l; cat /l/last')" = $'41\n40' ]
}

# ---- saving ----

# in_store NAME COMMAND ...: moat with a store of its own, empty at first.
in_store() {
	MOAT_ROOT=$TEST_DIR/root.$1 MOAT_RUN=$TEST_DIR/run.$1 "$MOAT" "${@:2}"
}

identity() {
	in_store "$1" image inspect --format '{{.Id}} {{.RepoDigests}} {{.RepoTags}} {{.Config}}' "$2"
}

@test "what save writes, load makes the same image of, and save the same bytes" {
	local path name
	for path in "$(images_dir variants)"/*; do
		name=variant:${path##*/}
		in_store a load -q -i "$path"
		in_store a save -o "$TEST_DIR/archive" "$name"
		in_store b load -q -i "$TEST_DIR/archive"
		[ "$(identity a "$name")" = "$(identity b "$name")" ]
		in_store b save "$name" | cmp - "$TEST_DIR/archive"
		rm -rf "$TEST_DIR"/{root,run}.{a,b}
	done
}

@test "several images are one archive, what they share is in it once, and an id is no name" {
	image one --busybox --label number=1
	image two --busybox --label number=2
	moat tag one again:3
	moat save -o "$TEST_DIR/archive" one two again:3
	[ "$(tar -tf "$TEST_DIR/archive" | sort | uniq -d | wc -l)" = 0 ]
	[ "$(tar -tf "$TEST_DIR/archive" | grep -c '^blobs/sha256/.')" = 5 ]
	run -0 in_store a load -i "$TEST_DIR/archive"
	[[ $output == *one:latest* && $output == *two:latest* && $output == *again:3* ]]
	local id
	id=$(moat images -q --no-trunc two)
	"$MOAT" save "$id" | in_store b load
	[ "$(in_store b images --no-trunc --format '{{.Repository}} {{.ID}}')" = "<none> $id" ]
}

@test "skopeo, podman and docker read what save writes, with the same ids and digests" {
	local said
	. "$MOAT_TOP/tests/lib/peers.sh"
	moat save -o "$TEST_DIR/archive" busybox
	read -r id digest < <(moat image inspect --format '{{.Id}} {{index .RepoDigests 0}}' busybox)
	[ "$(skopeo inspect --format '{{.Digest}}' "oci-archive:$TEST_DIR/archive")" = "${digest#*@}" ]
	skopeo inspect --config "docker-archive:$TEST_DIR/archive" >/dev/null
	# shellcheck disable=SC2016 # their shell's
	said=$(with_podman 'podman load -q -i "$1" && podman image inspect --format "{{.Id}} {{.Digest}}" busybox' \
		"$TEST_DIR/archive")
	[[ $said == *busybox:latest* && $said == *"${id#sha256:} ${digest#*@}"* ]]
	# shellcheck disable=SC2016
	said=$(with_docker 'docker load -i "$1" && docker image inspect --format "{{.Id}}" busybox' "$TEST_DIR/archive")
	[[ $said == *busybox:latest* && $said == *"$id"* ]]
}

@test "save says what it cannot do, and leaves nothing" {
	run -125 --separate-stderr "$MOAT" save -o "$TEST_DIR/archive" busybox nowhere
	one_line
	[[ $stderr == *'no such image: nowhere'* ]]
	run -125 --separate-stderr "$MOAT" save -o "$TEST_DIR/missing/archive" busybox
	one_line
	[[ $stderr == *missing* ]]
	run -125 --separate-stderr bash -c '"$MOAT" save busybox >/dev/full'
	one_line
	[[ $stderr == *'No space left on device'* ]]
	run script -qec "$MOAT save busybox" /dev/null
	[[ $output == *'use -o FILE'* ]]
	run -125 --separate-stderr "$MOAT" save
	one_line
	# A layer that has changed in the store.
	local blob
	in_store a load -q -i "$(images_dir busybox)"
	blob=$(find "$TEST_DIR/root.a/blobs/sha256" -size +1M)
	printf x | dd of="$blob" bs=1 seek=4000 conv=notrunc status=none
	run -125 --separate-stderr in_store a save -o "$TEST_DIR/archive" busybox
	one_line
	[[ $stderr == *"${blob##*/}"*'has been damaged'* ]]
	[ ! -e "$TEST_DIR/archive" ]
}

# ---- import ----

@test "import makes an image of a root file system, plain, gzip, zstd and from standard input" {
	local rootfs
	rootfs=$(images_dir rootfs)
	gzip -c "$rootfs" >"$TEST_DIR/r.gz"
	zstd -q -c "$rootfs" >"$TEST_DIR/r.zst"
	run -0 moat import "$rootfs" imported:plain
	[[ $output =~ ^sha256:[0-9a-f]{64}$ ]]
	moat import "$TEST_DIR/r.gz" imported:gzip
	moat import "$TEST_DIR/r.zst" imported:zstd
	moat import - imported:stdin <"$rootfs"
	local tag
	for tag in plain gzip zstd stdin; do
		[ "$(moat run --rm --network none "imported:$tag" echo $tag)" = $tag ]
	done
}

# ---- names ----

@test "tag gives a further name, rmi takes it away, the last one deletes" {
	image first --busybox --label only=here
	moat tag first second:v1
	[ "$(moat run --rm --network none second:v1 echo fine)" = fine ]
	run -0 moat rmi first
	[[ $output == *'Untagged: first:latest'* && $output != *Deleted* ]]
	run -0 moat rmi second:v1
	[[ $output == *Untagged* && $output == *'Deleted: sha256:'* ]]
	run -125 moat run --rm second:v1 true
}

@test "rmi refuses an image in use" {
	image used --busybox --label only=here
	moat create --name user used true
	run --separate-stderr ! moat rmi used
	one_line
	[[ $stderr == *used* || $stderr == *user* ]]
	moat rm user
	moat rmi used
}

@test "rmi and inspect of what is not there name it" {
	run --separate-stderr ! moat rmi nosuch
	[[ $stderr == *nosuch* ]]
	run --separate-stderr ! moat image inspect nosuch
	[[ $stderr == *nosuch* ]]
}

@test "layers that two images share stay until the last goes" {
	image one --busybox --layer --file a=1
	image two --busybox --layer --file b=1
	moat rmi one
	[ "$(moat run --rm --network none two cat /b)" = 1 ]
}

@test "images has Docker's columns, filters by name, and -q" {
	run -0 moat images
	[[ ${lines[0]} == REPOSITORY*TAG*'IMAGE ID'*CREATED*SIZE ]]
	[[ ${lines[1]} == busybox*latest*MB ]]
	local id
	id=$(moat image inspect busybox | field 0 Id)
	[ "$(moat images -q busybox)" = "${id:7:12}" ]
	[ "$(moat images -q --no-trunc busybox)" = "$id" ]
	[ -z "$(moat images -q nosuch)" ]
	[ "$(moat images --format '{{.Repository}}/{{.Tag}}' busybox)" = busybox/latest ]
	[ "$(moat images --format json busybox | field Repository)" = busybox ]
	[ "$(moat images --format 'table {{.Tag}}\t{{.Repository}}' busybox)" = $'TAG       REPOSITORY\nlatest    busybox' ]
	run ! moat images --format '{{.NoSuch}}'
}

@test "images --filter by reference and dangling" {
	image apart --busybox --label only=here
	moat tag apart example.org/one/two:v1
	[ "$(moat images --filter reference='ap*' --format '{{.Repository}}')" = apart ]
	[ "$(moat images 'example.org/*/two' --format '{{.Tag}}')" = v1 ]
	[ "$(moat images --filter reference=apart --filter 'reference=*/*/two:v?' -q | sort -u | wc -l)" -eq 1 ]
	[ -z "$(moat images --filter dangling=true -q)" ]
	[ "$(moat images --filter dangling=false --filter reference=apart -q | wc -l)" -eq 1 ]
	run --separate-stderr ! moat images --filter nosuch=1
	one_line
}

@test "image inspect says what the image's configuration says" {
	image all --busybox --env A=1 --label l=v --entrypoint '["e"]' --cmd '["c"]' --user alice --workdir /etc
	moat image inspect all >"$TEST_DIR/all"
	value() {
		field 0 "$@" <"$TEST_DIR/all"
	}
	[ "$(value RepoTags)" = all:latest ]
	[ "$(value Architecture)" = amd64 ]
	[ "$(value Os)" = linux ]
	[ "$(value Config Env)" = A=1 ]
	[ "$(value Config Labels l)" = v ]
	[ "$(value Config Entrypoint)" = e ]
	[ "$(value Config Cmd)" = c ]
	[ "$(value Config User)" = alice ]
	[ "$(value Config WorkingDir)" = /etc ]
	[[ $(value RootFS Layers) == sha256:* ]]
}

# ---- broken ----

@test "broken archives are refused in one line, and nothing is left" {
	local broken kind
	for kind in docker-archive oci-tar; do
		for broken in diff-id config-digest missing-layer truncated; do
			"$MOAT_TOP/tests/lib/mkimage.py" $kind "$TEST_DIR/b" --busybox --file bad=1 --break $broken \
				--tag broken:1
			run --separate-stderr ! moat load -i "$TEST_DIR/b"
			one_line
			run -125 moat run --rm broken:1 true
		done
	done
}

@test "wrong_digest_leaves_no_blob" {
	"$MOAT_TOP/tests/lib/mkimage.py" oci-tar "$TEST_DIR/b" --busybox --file bad=1 --break blob-digest --tag b:1
	run --separate-stderr ! moat load -i "$TEST_DIR/b"
	one_line
	[[ $stderr == *sha256:* ]]
}

@test "a layer that the disk does not take is refused" {
	# A file system that believes in more room than the disk below it has: writing fails only once
	# the bytes go to the disk.
	head -c 24M /dev/urandom >"$TEST_DIR/noise"
	"$MOAT_TOP/tests/lib/mkimage.py" oci-tar "$TEST_DIR/b" --copy "noise=$TEST_DIR/noise" --tag disk:1
	mkdir "$TEST_DIR/disk" "$TEST_DIR/mnt"
	mount -t tmpfs -o size=16m tmpfs "$TEST_DIR/disk"
	truncate -s 256M "$TEST_DIR/disk/image"
	mkfs.ext4 -q -O ^has_journal "$TEST_DIR/disk/image"
	mount -o loop "$TEST_DIR/disk/image" "$TEST_DIR/mnt"
	run --separate-stderr ! "$MOAT" --root "$TEST_DIR/mnt/root" --run "$TEST_DIR/run" load \
		-i "$TEST_DIR/b"
	umount "$TEST_DIR/mnt"
	umount "$TEST_DIR/disk"
	one_line
}

@test "index_and_manifest_in_one_is_refused" {
	"$MOAT_TOP/tests/lib/mkimage.py" oci-tar "$TEST_DIR/b" --busybox --file bad=1 --break two-meanings --tag b:1
	run --separate-stderr ! moat load -i "$TEST_DIR/b"
	one_line
}

@test "what is no archive is refused" {
	echo nonsense >"$TEST_DIR/text"
	: >"$TEST_DIR/empty"
	head -c 100000 /dev/urandom >"$TEST_DIR/noise"
	mkdir "$TEST_DIR/folder"
	local path
	for path in text empty noise folder nosuch; do
		run --separate-stderr ! moat load -i "$TEST_DIR/$path"
		one_line
	done
}

@test "a full disk is one clear line, and nothing is left" {
	mkdir "$TEST_DIR/small"
	mount -t tmpfs -o size=600k tmpfs "$TEST_DIR/small"
	mkdir "$TEST_DIR/small/root"
	run --separate-stderr ! "$MOAT" --root "$TEST_DIR/small/root" --run "$TEST_DIR/run" load \
		-i "$(images_dir busybox)"
	local said=$stderr
	"$MOAT" --root "$TEST_DIR/small/root" --run "$TEST_DIR/run" system prune || :
	umount "$TEST_DIR/small"
	one_line "$said"
	[[ $said == *space* ]]
}

# on_small COMMAND ...: with an engine on a file system of 24 MB, which more_teardown takes away.
on_small() {
	MOAT_ROOT=$TEST_DIR/small/root MOAT_RUN=$TEST_DIR/run "$@"
}

more_teardown() {
	mountpoint -q "$TEST_DIR/small" || return 0
	on_small remove_workloads
	on_small moat system prune
	umount "$TEST_DIR/small"
}

@test "on a full disk what is there runs on, nothing is lost and nothing left over" {
	not_on no-loop
	truncate -s 24M "$TEST_DIR/disk"
	mkfs.ext4 -q -b 4096 -m 0 "$TEST_DIR/disk"
	mkdir "$TEST_DIR/small"
	mount -o loop "$TEST_DIR/disk" "$TEST_DIR/small"
	on_small moat load -q -i "$(images_dir busybox)"
	run -3 on_small moat run --network none --name kept busybox sh -c 'echo said; exit 3'
	on_small moat run -d --name lives busybox sleep 1000
	on_small leaks look >"$TEST_DIR/full"

	fill() {
		dd if=/dev/zero of="$TEST_DIR/small/ballast" bs=4k 2>/dev/null || :
	}
	fill
	local verb
	for verb in 'run --rm' 'run -d' create; do
		# shellcheck disable=SC2086
		run --separate-stderr -125 on_small moat $verb --name more busybox sleep 1000
		one_line
		[[ $stderr == *space* ]]
	done
	run --separate-stderr -125 on_small moat load -q -i "$(images_dir variants)/oci-tar-layers-plain"
	one_line
	[[ $stderr == *space* ]]
	[ "$(on_small moat exec lives echo alive)" = alive ]
	[ "$(on_small moat logs kept)" = said ]
	[[ $(on_small moat ps -a --filter name=kept) == *'Exited (3)'* ]]

	rm "$TEST_DIR/small/ballast"
	on_small leaks compare "$TEST_DIR/full"
	[ "$(on_small moat run --rm busybox echo again)" = again ]

	# What is needed then is to remove something.
	fill
	[ "$(on_small moat rm -f lives kept)" = $'lives\nkept' ]
	fill
	[[ $(on_small moat rmi busybox) == *Deleted* ]]
	[ -z "$(on_small moat ps -aq)" ]
	[ -z "$(on_small moat images -q)" ]
}
