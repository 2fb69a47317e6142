#!/usr/bin/env bats
# attack - rows of THREATS section 4: what a hostile workload or image tries, and what it gets.
# One wall: container, these are the attacks on that wall.
load ../lib/common

more_setup_file() {
	gcc -static -O1 -D_GNU_SOURCE -o "$FILE_DIR/probe" "$MOAT_TOP/tests/lib/probe.c"
	TEST_DIR=$FILE_DIR image probe --busybox --copy bin/probe="$FILE_DIR/probe"
	moat run --rm probe true
	export SENTINEL=/var/tmp/moat-sentinel.$$
	echo untouched >"$SENTINEL"
}

teardown_file() {
	rm -f "$SENTINEL"
	remove_workloads
	moat system prune
	rm -rf "$FILE_DIR"
}

refused() { # WHAT [NUMBER]: the probe has no permission; any other error is the kernel's, not the wall's
	local said
	said=$(moat run --rm --network none probe probe "$@")
	[ "$said" = EPERM ] || {
		echo "probe $*: '$said'" >&2
		return 1
	}
}

# ---- the program itself ----

@test "proc_self_exe_cannot_be_written" {
	local before id
	before=$(sha256sum "$MOAT" "${MOAT%/*}/moat-monitor")
	id=$(moat run -d --network none probe probe exes)
	for _ in {1..20}; do
		moat exec "$id" /bin/true
		# The trick of CVE-2019-5736: execute the runtime itself.
		moat exec "$id" /proc/self/exe --version >/dev/null 2>&1 || :
	done
	run -0 moat logs "$id"
	[[ $output == */bin/* ]]
	[[ $output != *moat* ]]
	[ "$(sha256sum "$MOAT" "${MOAT%/*}/moat-monitor")" = "$before" ]
}

@test "only_listed_fds_reach_the_workload" {
	run -0 bash -c "exec 7</etc/passwd 9</; '$MOAT' run --rm --network none busybox sh -c 'ls /proc/self/fd | paste -sd ,'"
	# The fourth is the directory that ls reads.
	[ "$output" = 0,1,2,3 ]
	moat run -d --name box --network none busybox sleep 1000
	run -0 bash -c "exec 7</etc/passwd 9</; '$MOAT' exec box ls /proc/self/fd"
	[ "${#lines[@]}" -eq 4 ]
	run -0 moat exec box ls /proc/1/fd
	[ "${#lines[@]}" -eq 3 ]
}

@test "workdir_through_fd_table_is_refused" {
	local n up=../../../../../../../.. # enough from any directory of the host that moat holds
	moat run -d --name box --network none busybox sleep 1000
	for n in {3..24}; do
		run moat run --rm --network none -w "/proc/self/fd/$n" busybox cat "$up$SENTINEL" "..$SENTINEL"
		[[ $output != *untouched* ]]
		run moat run --rm --network none -w "/proc/self/fd/$n/$up" busybox cat ".$SENTINEL"
		[[ $output != *untouched* ]]
		run moat exec -w "/proc/self/fd/$n" box cat "$up$SENTINEL"
		[[ $output != *untouched* ]]
	done
	image fdwork --busybox --symlink sneaky=/proc/self/fd/9
	run moat run --rm --network none -w /sneaky/../.. fdwork cat ".$SENTINEL"
	[[ $output != *untouched* ]]
}

# ---- /proc, /sys, /dev ----

@test "volume_over_proc_is_refused" {
	mkdir "$TEST_DIR/fake"
	local target
	for target in /proc /proc/self/attr /proc/sys /sys/../proc; do
		run --separate-stderr -125 moat run --rm -v "$TEST_DIR/fake:$target" busybox true
		one_line
	done
	# /var/run leads to /proc in this image: the mount must not follow it there.
	image sneaky --busybox --symlink door=/proc
	run -125 moat run --rm --network none -v "$TEST_DIR/fake:/door/sys" sneaky true
}

@test "masked_paths_read_empty" {
	local path
	for path in /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/sched_debug; do
		[ -e "$path" ] || continue
		[ "$(moat run --rm --network none busybox sh -c "head -c 100 $path | wc -c")" -eq 0 ]
	done
	for path in /sys/firmware /proc/scsi /proc/acpi; do
		[ -e "$path" ] || continue
		[ -z "$(moat run --rm --network none busybox ls "$path")" ]
	done
}

@test "read-only paths cannot be written" {
	local path
	for path in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname \
		/proc/irq/default_smp_affinity /sys/kernel/uevent_helper /sys/kernel/mm/transparent_hugepage/enabled; do
		[ -e "$path" ] || continue
		run ! moat run --rm --network none busybox sh -c "echo 1 >$path"
	done
}

@test "host_keys_are_not_visible" {
	[ -z "$(moat run --rm --network none busybox cat /proc/keys)" ]
	refused call 250 # keyctl
	refused call 248 # add_key
}

@test "dev_null_as_symlink_does_not_unmask" {
	image devlinks --busybox --symlink dev/null=/proc/sysrq-trigger --symlink dev/pts=/etc --symlink dev/console=/etc/passwd
	local path
	for path in /proc/kcore /proc/timer_list; do
		[ -e "$path" ] || continue
		[ "$(moat run --rm --network none devlinks sh -c "head -c 100 $path | wc -c")" -eq 0 ]
	done
	[ "$(moat run --rm --network none devlinks stat -c %t:%T /dev/null)" = 1:3 ]
}

@test "console_bind_ignores_pts_symlink" {
	image devlinks --busybox --symlink dev/pts="$SENTINEL" --symlink dev/console="$SENTINEL"
	tty_run -- "$MOAT" run --rm -t --network none devlinks sh -c 'echo evil >/dev/console' || :
	[ "$(cat "$SENTINEL")" = untouched ]
}

@test "dev_as_symlink_in_image_is_refused" {
	local name
	for name in dev proc sys; do
		"$MOAT_TOP/tests/lib/mkimage.py" docker-archive "$TEST_DIR/i" --copy bin/busybox="$(command -v busybox)" \
			--symlink "$name=/tmp" --dir tmp --tag "links:$name"
		moat load -q -i "$TEST_DIR/i"
		run --separate-stderr -125 moat run --rm --network none "links:$name" /bin/busybox true
		[[ $stderr == *"the image leads it elsewhere by a symbolic link"* ]]
	done
}

@test "the default devices are Docker's and no more" {
	run -0 moat run --rm --network none busybox sh -c 'ls /dev | paste -sd " "'
	local device
	for device in full null random tty urandom zero fd stdin stdout stderr shm mqueue pts ptmx; do
		[[ " $output " == *" $device "* ]]
	done
	[[ " $output " != *" kmsg "* && " $output " != *" vda "* && " $output " != *" sda "* && " $output " != *" mem "* ]]
}

@test "mknod_of_root_disk_cannot_be_opened" {
	local device
	device=$(python3 -c 'import os; print(os.stat("/").st_dev)')
	refused disk "$device"
	# The first loop device: on some hosts nobody may open the root's.
	refused disk "$((7 << 8))"
}

# ---- kernel interfaces ----

@test "the wall is Docker's: seccomp, capabilities, namespaces" {
	run -0 moat run --rm --network none busybox grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|Seccomp|NoNewPrivs):' /proc/self/status
	[[ $output == *$'CapInh:\t0000000000000000'* ]]
	[[ $output == *$'CapAmb:\t0000000000000000'* ]]
	[[ $output == *$'CapBnd:\t00000000a80425fb'* ]]
	[[ $output == *$'CapEff:\t00000000a80425fb'* ]]
	[[ $output == *$'Seccomp:\t2'* ]]
	local name
	for name in cgroup ipc mnt net pid uts; do
		[ "$(moat run --rm --network none busybox readlink "/proc/self/ns/$name")" != "$(readlink "/proc/self/ns/$name")" ]
	done
}

@test "inheritable_set_is_empty" {
	[ "$(moat run --rm --network none -u alice busybox awk '/CapInh|CapEff|CapPrm|CapAmb/ { print $2 }' /proc/self/status | sort -u)" = 0000000000000000 ]
}

@test "supplementary_groups_match_the_image" {
	[ "$(moat run --rm --network none -u alice busybox id -G)" = '1000 29 50' ]
	[ "$(moat run --rm --network none -u 4242 busybox id -G)" = 0 ]
	[ "$(moat run --rm --network none -u 1000:1000 busybox id -G)" = 1000 ]
}

@test "user_4294967296_is_refused" {
	local user
	for user in 4294967296 4294967295 2147483648 -1 0:4294967296 18446744073709551616; do
		run --separate-stderr -125 moat run --rm --network none --user="$user" busybox id -u
		one_line
	done
}

@test "release_agent_cannot_be_written" {
	run moat run --rm --network none busybox sh -c '
		find /sys/fs/cgroup -name release_agent -o -name devices.allow -o -name cgroup.procs |
		while read -r file; do (echo x >"$file") 2>/dev/null && echo "WROTE $file"; done
		mkdir /tmp/c; mount -t cgroup -o memory none /tmp/c && echo MOUNTED
		for folder in /sys/fs/cgroup /sys/fs/cgroup/*/; do
			mkdir "$folder/x" 2>/dev/null && echo "MADE $folder/x"
		done'
	[[ $output != *WROTE* && $output != *MOUNTED* && $output != *MADE* ]]
}

@test "default_profile_denies_fsopen_and_userns" {
	local call
	refused userns
	refused mountns
	refused mount
	refused handle
	# open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr, bpf, userfaultfd, perf_event_open,
	# kexec_load, init_module, finit_module, delete_module, ptrace of init is allowed and harmless, reboot,
	# swapon, settimeofday, pivot_root, setns, acct, iopl, quotactl, lookup_dcookie, add_key, request_key
	for call in 428 429 430 431 432 433 442 321 323 298 246 175 313 176 169 167 164 155 308 163 172 179 212 248 249; do
		refused call "$call"
	done
}

@test "only_listed_socket_families_open" {
	local family
	for family in 1 2 16; do # unix, inet, netlink
		[ "$(moat run --rm --network none probe probe socket "$family")" = allowed ]
	done
	for family in 38 40; do # alg, vsock
		refused socket "$family"
	done
}

@test "tiocsti_is_denied" {
	run -0 tty_run -- "$MOAT" run --rm -t --network none probe probe tiocsti
	[[ $output != *allowed* ]]
}

@test "reserved_label_in_image_is_ignored" {
	image labelled --busybox --label moat.seccomp=unconfined --label io.moat.privileged=true --label moat.isolation=none
	[ "$(moat run --rm --network none labelled awk '/^Seccomp:/ { print $2 }' /proc/self/status)" = 2 ]
}

@test "image_volume_dotdot_copies_nothing_from_host" {
	image volumes --busybox --volume '/../../../var/tmp' --volume "/../../..$SENTINEL" --volume /data
	run --separate-stderr moat run --rm --network none volumes sh -c 'ls -R /var/tmp /data; cat /../../..'"$SENTINEL"
	[[ $output != *untouched* && $output != *moat-sentinel* ]]
	[ "$(cat "$SENTINEL")" = untouched ]
}

# ---- mounts ----

@test "mount targets do not leave the root through the image's symlinks" {
	mkdir "$TEST_DIR/source"
	echo evil >"$TEST_DIR/source/x"
	image doors --busybox --symlink "door=../../../../var/tmp" --symlink 'abs=/var/tmp'
	run -0 moat run --rm --network none -v "$TEST_DIR/source:/door/in" -v "$TEST_DIR/source:/abs/in2" doors true
	[ ! -e /var/tmp/in ]
	[ ! -e /var/tmp/in2 ]
}

@test "mount_target_swapped_in_a_loop_stays_inside" {
	# A workload that shares a volume swaps a directory and a link while another one is started there.
	mkdir -p "$TEST_DIR/shared/a" "$TEST_DIR/source"
	moat run -d --network none -v "$TEST_DIR/shared:/shared" probe sh -c 'cd /shared && ln -s /var/tmp link && exec probe swap'
	for _ in {1..50}; do
		moat run --rm --network none -v "$TEST_DIR/shared:/s" -v "$TEST_DIR/source:/s/a/planted" busybox true 2>/dev/null || :
		[ ! -e /var/tmp/planted ]
	done
	moat rm -f "$(moat ps -q)"
	rm -rf "$TEST_DIR/shared"
}

# ---- archives ----

@test "evil_tar: no archive writes, links or shows anything outside, or takes long" {
	mkdir "$TEST_DIR/evil"
	PYTHONDONTWRITEBYTECODE=1 python3 "$MOAT_TOP/tests/lib/eviltars.py" "$TEST_DIR/evil" "$SENTINEL"
	local path loaded=0 refused=0 name links
	links=$(stat -c %h "$SENTINEL")
	for path in "$TEST_DIR/evil"/*.tar; do
		name=${path##*/}
		run --separate-stderr timeout 60 "$MOAT" load -q -i "$path"
		if [ "$status" -eq 0 ]; then
			loaded=$((loaded + 1))
			run timeout 60 "$MOAT" run --rm --network none "evil:$((10#${name%%-*}))" sh -c \
				"cat $SENTINEL /out/* /a /b 2>/dev/null; true"
			[[ $output != *untouched* ]] || { echo "$name shows a file of the host" >&2; return 1; }
			[ "$status" -lt 128 ] || { echo "$name: run ended with $status" >&2; return 1; }
			moat rmi -f "evil:$((10#${name%%-*}))" >/dev/null
		else
			refused=$((refused + 1))
			[ "$status" -lt 126 ] || { echo "$name: load ended with $status: $stderr" >&2; return 1; }
			one_line || { echo "$name: said: $stderr" >&2; return 1; }
		fi
		[[ $stderr != *$'\e'* ]]
		[ "$(cat "$SENTINEL")" = untouched ] && [ "$(stat -c %h "$SENTINEL")" = "$links" ] ||
			{ echo "$name touched a file of the host" >&2; return 1; }
	done
	echo "# $loaded loaded and stayed inside, $refused refused" >&3
	[ $((loaded + refused)) -ge 55 ]
}

@test "forged_overlay_xattr_is_dropped" {
	PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$MOAT_TOP/tests/lib python3 - "$TEST_DIR/f" <<-'END'
		import sys, eviltars
		base, layer = eviltars.Layer(), eviltars.Layer()
		base.busybox()
		eviltars.forged(layer)
		eviltars.archive(sys.argv[1], [base.done(), layer.done()], 'forged:1')
	END
	moat load -q -i "$TEST_DIR/f"
	run -0 moat run --rm --network none forged:1 sh -c 'ls -A /forged* | grep -v :'
	[[ $output != *passwd* ]]
	moat rmi forged:1
}

# maximum COMMAND ...: runs it and says on standard error how many MiB of memory its largest process took.
maximum() {
	python3 -c '
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=sys.stderr)
sys.exit(status)' "$@"
}

bomb() { # HOW: 2 GiB of zeros in one file
	mkdir "$TEST_DIR/t"
	truncate -s 2G "$TEST_DIR/t/zeros"
	case $1 in
	gzip) tar -C "$TEST_DIR/t" -cf - zeros | gzip -1 >"$TEST_DIR/bomb" ;;
	zstd) tar -C "$TEST_DIR/t" -cf - zeros | zstd -q -1 >"$TEST_DIR/bomb" ;;
	esac
	rm -r "$TEST_DIR/t"
	run --separate-stderr timeout 120 bash -c "$(declare -f maximum); maximum '$MOAT' import '$TEST_DIR/bomb' bomb"
	local used
	used=$(du -sm "$MOAT_ROOT" | cut -f 1)
	echo "# $1: status $status, memory ${stderr##*$'\n'} MiB, $used MiB on disk" >&3
	[ "$status" -lt 126 ]
	[ "${stderr##*$'\n'}" -lt 256 ]
	[ "$status" -ne 0 ] || moat rmi bomb
}

@test "bomb_gzip" {
	bomb gzip
}

@test "bomb_zstd" {
	bomb zstd
}

@test "million_entries" {
	python3 - "$TEST_DIR/m" <<-'END'
		import sys, tarfile
		with open(sys.argv[1], 'wb') as out:
		    for i in range(1000000):
		        if i % 1000 == 0:
		            d = tarfile.TarInfo(f'm/{i // 1000}')
		            d.type, d.mode = tarfile.DIRTYPE, 0o755
		            out.write(d.tobuf(tarfile.USTAR_FORMAT))
		        out.write(tarfile.TarInfo(f'm/{i // 1000}/{i % 1000}').tobuf(tarfile.USTAR_FORMAT))
		    out.write(bytes(1024))
	END
	tar -f "$TEST_DIR/m" --concatenate "$("$MOAT_TOP/tests/lib/images" rootfs)" 2>/dev/null || :
	run --separate-stderr timeout 300 bash -c "$(declare -f maximum); maximum '$MOAT' import '$TEST_DIR/m' million"
	echo "# a million entries: status $status, memory ${stderr##*$'\n'} MiB" >&3
	rm "$TEST_DIR/m"
	[ "$status" -eq 0 ]
	[ "$(moat run --rm --network none million sh -c 'ls /m | wc -l; ls /m/999 | wc -l')" = $'1000\n1000' ]
	moat rmi million
}

@test "documents that are too deep or too long are refused" {
	python3 - "$MOAT_TOP/tests/lib" "$TEST_DIR" <<-'END'
		import sys
		sys.dont_write_bytecode = True
		sys.path.insert(0, sys.argv[1])
		from mkimage import Layer
		deep = b'[' * 200000 + b']' * 200000
		for name, text in (('deep', deep), ('long', b'[' + b'{},' * 20000000 + b'{}]'),
		                   ('null', b'null'), ('number', b'[{"Config":1,"Layers":{}}]'),
		                   ('dotdot', b'[{"Config":"../../etc/passwd","Layers":["../../../etc/shadow"]}]'),
		                   ('nul', b'[{"Config":"a\\u0000b","Layers":[]}]')):
		    layer = Layer()
		    layer.add('manifest.json', data=text)
		    with open(f'{sys.argv[2]}/{name}.json.tar', 'wb') as file:
		        file.write(layer.done())
	END
	local path
	for path in "$TEST_DIR"/*.json.tar; do
		run --separate-stderr timeout 30 "$MOAT" load -i "$path"
		[ "$status" -ne 0 ] && [ "$status" -lt 126 ]
		one_line
	done
}

# ---- other users, terminals, exhaustion ----

@test "no_abstract_socket_exists" {
	moat run -d busybox sleep 1000
	run ! grep -E '@.*moat' /proc/net/unix
}

@test "host_user_cannot_walk_the_store" {
	moat run -d --name box busybox sleep 1000
	[ "$(($(stat -c 0%a "$MOAT_ROOT") & 077))" -eq 0 ] || [ "$(($(stat -c 0%a "$MOAT_ROOT") & 07))" -eq 0 ]
	run ! setpriv --reuid 65534 --regid 65534 --clear-groups ls "$MOAT_ROOT"/layers
	run ! setpriv --reuid 65534 --regid 65534 --clear-groups find "$MOAT_RUN" -name '*.sock'
}

@test "listing_evil_labels_prints_no_escape_byte" {
	local evil=$'\e[2J\e]0;evil\a'
	moat run -d --name box --label "x=$evil" -e "Y=$evil" busybox sleep 1000 "$evil"
	[[ $(moat ps -a --no-trunc) != *$'\e'* ]]
	[[ $(moat ps --format '{{.Labels}} {{.Command}}') != *$'\e'* ]]
	[[ $(moat inspect box) != *$'\e'* ]]
	run moat run --rm "no${evil}image" true
	[[ $output != *$'\e'* ]]
	image labelled --busybox --label "x=$evil"
	[[ $(moat image inspect labelled) != *$'\e'* ]]
	moat rmi labelled
}

@test "exhaust_processes" {
	local id
	id=$(moat run -d --pids-limit 50 --network none busybox sh -c 'bomb() { bomb | bomb & }; bomb; sleep 1000')
	run -0 moat ps
	run -0 moat run --rm --network none busybox true
	run -0 timeout 30 "$MOAT" rm -f "$id"
}

@test "exhaust_logs" {
	moat run --name flood --network none busybox sh -c 'yes 0123456789012345678901234567890123456789012345678901234567890123 | head -c 300000000' >/dev/null
	local used
	used=$(find "$MOAT_ROOT" "$MOAT_RUN" -name 'log*' -type f -printf '%s\n' | awk '{ s += $1 } END { print s }')
	echo "# 300 MB of output keep $used bytes of log" >&3
	[ "$used" -le 230000000 ]
	[ -n "$(moat logs --tail 1 flood)" ]
}

@test "exhaust_attach: a reader that stands still does not stop the workload" {
	moat run -d --name talker --network none busybox sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i of a workload that talks; done; echo finished; sleep 1000'
	"$MOAT" logs -f talker > >(sleep 30) &
	local reader=$!
	eventually logs_have talker finished
	kill $reader
}
