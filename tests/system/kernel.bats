#!/usr/bin/env bats
# kernel - kernels for virtual machines: what is taken in, chosen, listed, removed, and refused.
# One wall: container, it starts no workload.
load ../lib/common

fake() {
	"$MOAT_TOP/tests/lib/fake_kernel.py" "$@"
}

# tree RELEASE [LACKING]: a kernel with its modules in $TEST_DIR/RELEASE.
tree() {
	fake tree "$1" "$TEST_DIR/$1" "${@:2}"
}

import_tree() {
	moat kernel import "$TEST_DIR/$1/vmlinuz" "$TEST_DIR/$1"
}

more_teardown() {
	local names
	names=$(moat kernel ls -q)
	[ -z "$names" ] || moat kernel rm $names >/dev/null
	[ -z "$(ls -A "$MOAT_ROOT/kernels")" ]
}

# modules_of NAME: the files of its initramfs.
modules_of() {
	busybox cpio -t <"$MOAT_ROOT/kernels/$1/modules.cpio" 2>/dev/null
}

@test "Debian's package is taken in with the modules that a guest needs" {
	local name package
	package=$("$MOAT_TOP/tests/lib/kernel")
	name=$(moat kernel import "$package")
	[[ $name == *-cloud-amd64 ]]
	run -0 moat kernel ls
	[[ ${lines[1]} == "$name"*'*'*'bzImage, boot protocol 2.'* ]]
	[[ $(readelf -h "$MOAT_ROOT/kernels/$name/vmlinux") == *"Advanced Micro Devices X86-64"* ]]
	mkdir "$TEST_DIR/out"
	(cd "$TEST_DIR/out" && busybox cpio -id <"$MOAT_ROOT/kernels/$name/modules.cpio" 2>/dev/null)
	local module seen=' '
	# Each is there, and comes after all that modinfo, which is not ours, says it depends on.
	while read -r module; do
		local needed
		for needed in $(modinfo -F depends "$TEST_DIR/out/lib/moat/$module" | tr ',' ' '); do
			[[ $seen == *" $needed.ko "* ]]
		done
		seen+="$module "
	done <"$TEST_DIR/out/lib/moat/modules.list"
	for module in virtio_pci virtio_blk virtio_net virtio_pmem vmw_vsock_virtio_transport erofs; do
		[[ $seen == *" $module.ko "* ]]
	done
}

@test "a kernel file and the directory of its modules are taken in, compressed or not" {
	tree 6.1.0-fake
	run -0 import_tree 6.1.0-fake
	[ "$output" = 6.1.0-fake ]
	modules_of 6.1.0-fake | grep -qx lib/moat/virtio_rng.ko
	cmp "$TEST_DIR/6.1.0-fake/vmlinuz" "$MOAT_ROOT/kernels/6.1.0-fake/vmlinuz"
	[ ! -e "$MOAT_ROOT/kernels/6.1.0-fake/vmlinux" ]
	fake module 6.1.0-fake '' "$TEST_DIR/want"
	(cd "$TEST_DIR" && busybox cpio -id <"$MOAT_ROOT/kernels/6.1.0-fake/modules.cpio" 2>/dev/null)
	cmp "$TEST_DIR/want" "$TEST_DIR/lib/moat/erofs.ko"
	cmp "$TEST_DIR/want" "$TEST_DIR/lib/moat/vsock.ko"
}

@test "what a kernel decompresses at each start is kept ready" {
	local how
	for how in gz xz zst lz4; do
		tree 6.1.0-$how
		fake packed 6.1.0-$how "$TEST_DIR/6.1.0-$how/vmlinuz" $how
		import_tree 6.1.0-$how
		cmp "$TEST_DIR/6.1.0-$how/vmlinuz" "$MOAT_ROOT/kernels/6.1.0-$how/vmlinuz"
		cmp "$TEST_DIR/6.1.0-$how/vmlinuz.inside" "$MOAT_ROOT/kernels/6.1.0-$how/vmlinux"
	done
	moat kernel ls | grep -q '6.1.0-gz.*bzImage.*unpacked: ELF vmlinux'
	tree 6.1.0-broken
	fake packed 6.1.0-broken "$TEST_DIR/6.1.0-broken/vmlinuz" broken
	run -125 --separate-stderr import_tree 6.1.0-broken
	one_line
	[[ $stderr == *'unpack the kernel: xz data is damaged'* ]]
	[ ! -e "$MOAT_ROOT/kernels/6.1.0-broken" ]
}

@test "packages are read in every compression Debian has used" {
	local how
	for how in none gz xz zst; do
		tree "6.1.0-$how"
		mkdir "$TEST_DIR/6.1.0-$how/boot"
		mv "$TEST_DIR/6.1.0-$how/vmlinuz" "$TEST_DIR/6.1.0-$how/boot/vmlinuz-6.1.0-$how"
		fake deb "$TEST_DIR/6.1.0-$how" "$TEST_DIR/$how.deb" $how
		[ "$(moat kernel import "$TEST_DIR/$how.deb")" = "6.1.0-$how" ]
		modules_of "6.1.0-$how" | grep -qx lib/moat/erofs.ko
	done
}

@test "the first kernel is the default until another one is chosen, the last one again" {
	tree 6.1.0-a
	tree 6.1.0-b
	import_tree 6.1.0-a
	import_tree 6.1.0-b
	[ "$(moat kernel ls --format '{{.Name}}{{.Default}}' | sort | tr '\n' ' ')" = '6.1.0-a* 6.1.0-b ' ]
	moat kernel use 6.1.0-b
	[ "$(moat kernel ls --format '{{.Name}}{{.Default}}' | sort | tr '\n' ' ')" = '6.1.0-a 6.1.0-b* ' ]
	moat kernel rm 6.1.0-b
	[ "$(moat kernel ls --format '{{.Name}}{{.Default}}')" = '6.1.0-a*' ]
}

@test "a kernel of the same release is replaced whole" {
	tree 6.1.0-same
	import_tree 6.1.0-same
	printf more >>"$TEST_DIR/6.1.0-same/vmlinuz"
	import_tree 6.1.0-same
	[ "$(moat kernel ls -q)" = 6.1.0-same ]
	cmp "$TEST_DIR/6.1.0-same/vmlinuz" "$MOAT_ROOT/kernels/6.1.0-same/vmlinuz"
	[ "$(ls -A "$MOAT_ROOT/kernels" | sort | tr '\n' ' ')" = '6.1.0-same default ' ]
}

@test "a kernel without a needed driver is refused by its name and leaves nothing" {
	local lacking
	for lacking in virtio_blk erofs overlay ext4 virtio-rng; do
		tree 6.1.0-less $lacking
		run -125 --separate-stderr import_tree 6.1.0-less
		[[ $stderr == *"no driver ${lacking/-/_} "* ]]
		one_line
		rm -r "$TEST_DIR/6.1.0-less"
	done
	tree 6.1.0-less virtio_ring
	run -125 --separate-stderr import_tree 6.1.0-less
	[[ $stderr == *'virtio_pci needs virtio_ring'* ]]
	[ -z "$(moat kernel ls -q)" ]
	[ -z "$(ls -A "$MOAT_ROOT/kernels")" ]
}

@test "modules of another kernel, or that are none, are refused" {
	tree 6.1.0-odd
	fake module 6.1.0-other '' "$TEST_DIR/6.1.0-odd/lib/modules/6.1.0-odd/kernel/vir/virtio.ko"
	run -125 --separate-stderr import_tree 6.1.0-odd
	[[ $stderr == *'module virtio is of kernel "6.1.0-other SMP"'* ]]
	one_line
	head -c 5000 /dev/urandom >"$TEST_DIR/6.1.0-odd/lib/modules/6.1.0-odd/kernel/vir/virtio.ko"
	run -125 --separate-stderr import_tree 6.1.0-odd
	[[ $stderr == *'module virtio: not a kernel module'* ]]
	one_line
}

@test "modules that need each other in a circle come to an end" {
	tree 6.1.0-ring
	local base=$TEST_DIR/6.1.0-ring/lib/modules/6.1.0-ring/kernel/vir
	fake module 6.1.0-ring virtio_pci "$base/virtio.ko"
	import_tree 6.1.0-ring
	[ "$(modules_of 6.1.0-ring | grep -c virtio_pci.ko)" = 1 ]
}

@test "what is no kernel is refused in one line" {
	head -c 100000 /dev/urandom >"$TEST_DIR/noise"
	: >"$TEST_DIR/empty"
	printf '!<arch>\nnonsense' >"$TEST_DIR/cut.deb"
	mkdir "$TEST_DIR/tree"
	echo x >"$TEST_DIR/tree/x"
	fake deb "$TEST_DIR/tree" "$TEST_DIR/other.deb"
	local path
	for path in noise empty cut.deb other.deb tree missing; do
		run -125 --separate-stderr moat kernel import "$TEST_DIR/$path"
		one_line
	done
	fake kernel ../../x "$TEST_DIR/escape"
	run -125 --separate-stderr moat kernel import "$TEST_DIR/escape"
	[[ $stderr == *'does not say which release'* ]]
	[ -z "$(ls -A "$MOAT_ROOT/kernels")" ]
}

@test "the modules' directory must be the kernel's, and a package needs none" {
	tree 6.1.0-a
	run -125 --separate-stderr moat kernel import "$TEST_DIR/6.1.0-a/vmlinuz" "$TEST_DIR"
	[[ $stderr == *"open the modules of kernel 6.1.0-a in \"$TEST_DIR/lib/modules/6.1.0-a\""* ]]
	fake deb "$TEST_DIR/6.1.0-a" "$TEST_DIR/a.deb"
	run -125 --separate-stderr moat kernel import "$TEST_DIR/a.deb" "$TEST_DIR/6.1.0-a"
	[[ $stderr == *'leave out'* ]]
}

@test "unknown kernels are told, names are not paths" {
	local name
	for name in 6.1.0-none ../images default .new-x ''; do
		run -125 --separate-stderr moat kernel use "$name"
		one_line
		run --separate-stderr moat kernel rm "$name"
		[ $status -ne 0 ]
		one_line
	done
}

@test "what a killed import left is gone with the next change" {
	tree 6.1.0-a
	mkdir -p "$MOAT_ROOT/kernels/.new-left/x"
	import_tree 6.1.0-a
	[ ! -e "$MOAT_ROOT/kernels/.new-left" ]
}
