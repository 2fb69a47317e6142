#!/usr/bin/env bats
# vm - the same image as a virtual machine: on the software CPU, and in the lab (docs/lab.md) on KVM.
# One wall: vm, in its name.
load ../lib/common

vm() {
	moat run "$@"
}

@test "an accelerator that this host does not have is refused at once and says why" {
	run -125 --separate-stderr vm --rm --accel kvm busybox true
	one_line
	[[ $stderr == *"cannot run virtual machines: kvm: "* ]]
	run -0 moat info
	[[ $output == *"Name: kvm"*"Available: false"*"Reason: "* ]]
}

@test "vm.require_hardware refuses the software CPU; a mistake in the configuration is said" {
	local file=$TEST_DIR/config.json setting
	echo '{ "vm": { "require_hardware": true } }' >"$file"
	run -125 --separate-stderr "$MOAT" --config "$file" run --vm --accel soft --rm busybox true
	one_line
	[[ $stderr == *"soft: "*"vm.require_hardware in \"$file\""* ]]
	MOAT_CONFIG=$file run -0 moat info --format '{{range .Accelerators}}{{.Name}} {{.Boundary}} {{.Available}},{{end}}'
	[[ $output == *"kvm hardware "*",soft seccomp false,"* ]]
	MOAT_CONFIG=$file "$MOAT" run --rm busybox true
	for setting in '"vm": { "require_hardwar": true }' '"vm": { "require_hardware": 1 }' '"vm": true' '"mv": {}' '"vm"'; do
		echo "{ $setting }" >"$file"
		MOAT_CONFIG=$file run -125 --separate-stderr vm --rm busybox true
		one_line
		[[ $stderr == *"\"$file\""* ]]
		MOAT_CONFIG=$file "$MOAT" run --rm busybox true
	done
}

@test "what a machine cannot honour is refused by name" {
	local -a refused=("-v /tmp:/x" "--network host" "-m 16m")
	local -a words=("bind mounts" "--network host" "80 MiB")
	local number
	for number in "${!refused[@]}"; do
		# shellcheck disable=SC2086 # an option and its value
		run -125 --separate-stderr vm --rm ${refused[number]} busybox true
		one_line
		[[ $stderr == *"${words[number]}"* ]]
	done
}

@test "a machine runs the image on a kernel of its own, with its own exit status" {
	run -7 vm --rm -e GREETING=hello -u 1000:1000 -w /tmp busybox sh -c '
		cat /proc/sys/kernel/random/boot_id; id -u; pwd; echo "$GREETING"; echo problem >&2; exit 7'
	[ "${lines[0]}" != "$(cat /proc/sys/kernel/random/boot_id)" ]
	[[ ${lines[0]} =~ ^[0-9a-f-]{36}$ ]]
	[ "${lines[1]} ${lines[2]} ${lines[3]}" = "1000 /tmp hello" ]
}

@test "a machine stands on the bridge, takes input, and reports a missing command" {
	run -0 bash -c 'echo words | "$MOAT" run --isolation vm --rm -i busybox sh -c "
		cat; ip -4 -o addr show eth0; ping -c 1 -W 5 \$(ip route | sed -n \"s/default via \\([^ ]*\\).*/\\1/p\") >/dev/null && echo reached"'
	[ "${lines[0]}" = words ]
	[[ $output == *"eth0"*"reached"* ]]
	run -127 --separate-stderr vm --rm --network none busybox /no/such/command
	[[ $stderr == *"/no/such/command"* ]]
}

@test "a machine has a row in compare: accelerator, memory beside the guest's, calls that its filter allows, kernel" {
	run -0 moat compare busybox true
	local container_own container_calls accelerator host own calls kernel
	echo "# ${lines[2]}" >&3
	read -r container_own container_calls < <(awk '$1 == "container" { print $7, $9 }' <<<"$output")
	read -r accelerator host own calls kernel < <(awk '$1 == "vm" { print $2, $7, $8, $10, $11 }' <<<"$output")
	[ "$accelerator" = "($(accelerator))" ]
	[[ $(moat kernel ls) == *"$kernel"* ]]
	[ "$calls" -gt 30 ] && [ $((calls * 4)) -lt "$container_calls" ]
	# Both have a monitor; the guest has touched more than its machine needs.
	container_own=$(numfmt --from=iec-i "${container_own%B}")
	own=$(numfmt --from=iec-i "${own%B}") host=$(numfmt --from=iec-i "${host%B}")
	[ "$own" -gt "$container_own" ] && [ "$own" -lt $((19 << 20)) ]
	[ "$host" -gt $((32 << 20)) ] && [ "$host" -gt $((own * 4)) ]
}

@test "exec, logs, kill and stop reach what runs in a machine" {
	vm -d --name machine --network none --cpus 2 busybox sh -c '
		trap "echo got-it" USR1; trap "exit 3" TERM; nproc; while :; do sleep 0.1; done'
	eventually logs_have machine 2
	run -5 moat exec machine sh -c 'ps | grep -c trap; echo to-stderr >&2; exit 5'
	[[ $output == *to-stderr* ]]
	[ "$(echo in | moat exec -i machine cat)" = in ]
	moat kill -s USR1 machine
	eventually logs_have machine got-it
	moat stop -t 60 machine
	[ "$(of machine State ExitCode)" = 3 ]
}

@test "what a short command says is never lost" {
	vm -d --name machine --network none busybox sleep 1000
	for _ in {1..40}; do
		run -3 --separate-stderr moat exec machine sh -c 'echo out; echo err >&2; exit 3'
		[ "$output $stderr" = 'out err' ]
	done
}

# new_guests OLD: KVM's folders of the guests that are not among OLD.  Their names have process ids of
# the whole system, which a test's world does not see; suites beside this one start and end guests, too.
new_guests() {
	local guest
	for guest in /sys/kernel/debug/kvm/*-*; do
		[[ " $1 " == *" $guest "* ]] || echo "$guest"
	done
}

# exits GUEST: how often it has come back to KVM; 0 for one that has ended.
exits() {
	cat "$1/exits" 2>/dev/null || echo 0
}

# build_changed FILE SED: moat in $TEST_DIR, built with one file of src changed.
build_changed() {
	local build=${MOAT%/*} link
	sed "$2" "$MOAT_TOP/src/$1" >"$TEST_DIR/changed.c"
	run ! cmp -s "$TEST_DIR/changed.c" "$MOAT_TOP/src/$1"
	cc -std=gnu17 -D_GNU_SOURCE -I"$MOAT_TOP/src" -I/usr/include/json-c -c -o "$TEST_DIR/changed.o" "$TEST_DIR/changed.c"
	link=$(ninja -C "$build" -t commands moat | tail -n 1)
	link=${link/ -o moat / -o $TEST_DIR/moat $TEST_DIR/changed.o }
	(cd "$build" && $link)
	ln -s "$build/moat-monitor" "$build/moat-guest" "$TEST_DIR/"
}

@test "a machine is KVM's: its exits are counted, and nothing runs where KVM_RUN fails" {
	not_on no-hardware-vm
	[ -e /sys/kernel/debug/kvm/exits ] || mount -t debugfs debugfs /sys/kernel/debug
	local old guest counted=
	local -A before
	old=$(echo /sys/kernel/debug/kvm/*-*)
	vm -d --name box --network none busybox sleep 1000
	for guest in $(new_guests "$old"); do
		before[$guest]=$(exits "$guest")
	done
	moat exec box true
	for guest in "${!before[@]}"; do
		if [ "${before[$guest]}" -gt 1000 ] && [ "$(exits "$guest")" -gt "${before[$guest]}" ]; then
			counted=$guest
		fi
	done
	[ -n "$counted" ]
	build_changed cpu/kvm/kvm_vcpu.c 's/ioctl(vcpu->fd, KVM_RUN, 0) == 0/(errno = EFAULT) == 0/'
	run -125 --separate-stderr "$TEST_DIR/moat" run --isolation vm --rm --network none busybox true
	one_line
	[[ $stderr == *"kvm: run vCPU 0"* ]]
}

@test "a kernel that insists on signatures of its modules gets them" {
	build_changed engine/backend_vm.c 's/cryptomgr.notests"/cryptomgr.notests module.sig_enforce=1"/'
	run -0 "$TEST_DIR/moat" run --isolation vm --rm busybox cat /sys/module/module/parameters/sig_enforce
	[ "$output" = Y ]
	# And is not tainted by modules without one (bit 13).
	run -0 "$TEST_DIR/moat" run --isolation vm --rm busybox cat /proc/sys/kernel/tainted
	[ $((output >> 13 & 1)) = 0 ]
}

@test "a machine has the processors and the memory that it is given" {
	[ "$(vm --rm --network none --cpus 1 busybox nproc)" = 1 ]
	[ "$(vm --rm --network none --cpus 2 busybox nproc)" = 2 ]
	# Also more than the host has.
	[ "$(vm --rm --network none --cpus 4 busybox nproc)" = 4 ]
	run -125 --separate-stderr vm --rm --cpus 65 busybox true
	one_line
	[[ $stderr == *"a virtual machine has from 0.01 to 64 CPUs"* ]]
	local mib seen
	for mib in 80 8192; do
		seen=$(vm --rm --network none -m "${mib}m" busybox awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
		[ "$seen" -le "$mib" ] && [ "$seen" -ge $((mib / 2)) ]
	done
}

# use_fake END: the kernel of machines is one that only comes to that end.
use_fake() {
	"$MOAT_TOP/tests/lib/fake_kernel.py" tree "6.1.0-$1" "$TEST_DIR/$1"
	"$MOAT_TOP/tests/lib/fake_kernel.py" packed "6.1.0-$1" "$TEST_DIR/$1/vmlinuz" gz "$1"
	moat kernel import "$TEST_DIR/$1/vmlinuz" "$TEST_DIR/$1"
	moat kernel use "6.1.0-$1"
}

# Also where the test has failed: the others want the real one.
more_teardown() {
	local fakes
	fakes=$(moat kernel ls -q | grep -v cloud) || return 0
	moat kernel use "$(moat kernel ls -q | grep cloud)"
	# shellcheck disable=SC2086 # a list of words
	moat kernel rm $fakes
}

machine_is_there() {
	[ -n "$(moat ps -aq)" ] && pgrep -f '@vmm' >/dev/null
}

@test "a guest that faults, resets, panics or hangs" {
	local end
	local -A said=([fault]='the guest has crashed (triple fault)' [reset]='the guest has reset itself'
		[panic]="the guest's kernel panicked: made up")
	for end in fault reset panic; do
		use_fake $end
		run -125 --separate-stderr timeout 60 "$MOAT" run --isolation vm --rm --network none busybox true
		echo "# $end: $stderr" >&3
		[ "$stderr" = "moat: ${said[$end]}" ]
		[ -z "$(moat ps -aq)" ]
	done
	for end in hang spin; do
		use_fake $end
		"$MOAT" run --isolation vm --network none busybox true 2>"$TEST_DIR/said" &
		local command=$!
		eventually machine_is_there
		kill -9 "$(pgrep -f '@vmm')"
		local status=0
		wait $command || status=$?
		[ $status -eq 125 ]
		[[ $(cat "$TEST_DIR/said") == *"the machine's process ended while it was being set up" ]]
		[ -z "$(moat ps -aq)" ] || remove_workloads
	done
}

@test "kill -9 of the command, of the monitor, and of the machine's process" {
	"$MOAT" run --isolation vm --name box --network none busybox sh -c 'echo started; sleep 1000' >"$TEST_DIR/out" &
	local command=$!
	eventually grep -q started "$TEST_DIR/out"
	kill -9 $command
	[ "$(moat exec box echo here)" = here ]
	kill -9 "$(pgrep moat-monitor)"
	[ "$(moat exec box echo still here)" = 'still here' ]
	kill -9 "$(of box State Pid)"
	eventually state_is box exited
	moat rm box
	vm -d --name box --network none busybox sleep 1000
	kill -9 "$(of box State Pid)"
	eventually state_is box exited
	[ "$(of box State ExitCode)" = 137 ]
}

# used NAME: the microseconds of processor time that it has taken.
used() {
	local id
	id=$(of "$1" Id)
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		cgroup_file "$id" cpu none cpu.stat | awk '/usage_usec/ { print $2 }'
	else
		echo $(($(cgroup_file "$id" cpuacct cpuacct.usage none) / 1000))
	fi
}

@test "machines that spin share a processor equally; one that eats memory and writes disturbs no other" {
	local name
	for name in one other; do
		vm -d --name $name --network none busybox sh -c 'while :; do :; done'
	done
	for name in one other; do
		taskset -apc 0 "$(of $name State Pid)" >/dev/null
	done
	local one other
	sleep 1
	one=$(used one) other=$(used other)
	sleep 20
	one=$(($(used one) - one)) other=$(($(used other) - other))
	echo "# in 20 s: $one us and $other us" >&3
	[ $((one * 100)) -ge $((other * 90)) ] && [ $((other * 100)) -ge $((one * 90)) ]
	moat rm -f one other
	vm -d --name hog --network none -m 192m busybox sh -c 'while :; do dd if=/dev/zero of=/big bs=1M count=512; tail /dev/zero; done'
	vm -d --name box --network none busybox sleep 1000
	for _ in {1..5}; do
		run -0 timeout 30 "$MOAT" exec box echo here
	done
	local bytes
	bytes=$(cgroup_file "$(of hog Id)" memory memory.usage_in_bytes memory.current)
	[ "$bytes" -le $(((192 + 64) << 20)) ]
}

# upper_of NAME: the file that is its disk.
upper_of() {
	echo "$MOAT_ROOT/workloads/$(of "$1" Id)/upper.ext4"
}

# disk_is_clean NAME: it was unmounted (e2fsck -n lets a journal pass that is to be replayed).
disk_is_clean() {
	e2fsck -fn "$(upper_of "$1")"
	run -0 dumpe2fs -h "$(upper_of "$1")"
	[[ $output != *needs_recovery* ]]
}

# takes_kib NAME MIN MAX: what its disk takes of the host's.
takes_kib() {
	local kib
	kib=$(du -k "$(upper_of "$1")" | cut -f 1)
	[ "$kib" -ge "$2" ] && [ "$kib" -le "$3" ]
}

@test "a machine gets a disk when it is created, a sparse one, which goes with it; with --rm none" {
	moat create --isolation vm --name box busybox
	local disk
	disk=$(upper_of box)
	[ "$(stat -c '%a %U %s' "$disk")" = "600 root $((64 << 30))" ]
	takes_kib box 1 1024
	e2fsck -fn "$disk"
	moat rm box
	[ ! -e "$disk" ]
	moat create --isolation vm --rm --name box busybox
	[ ! -e "$(upper_of box)" ]
}

@test "a machine whose disk cannot be made is not made, and one line says why" {
	run -125 --separate-stderr unshare -m sh -c '
		mount --bind /dev/null "$(realpath /usr/lib/*/libext2fs.so.2)"
		exec "$MOAT" create --isolation vm busybox'
	one_line
	[[ $stderr == *"install libext2fs2"* ]]
	[ -z "$(moat ps -aq)$(ls "$MOAT_ROOT/workloads")" ]
	mkdir "$TEST_DIR/small"
	mount -t tmpfs -o size=16m small "$TEST_DIR/small"
	local small=$TEST_DIR/small left
	MOAT_ROOT=$small MOAT_RUN=$TEST_DIR/run "$MOAT" load -q -i "$("$MOAT_TOP/tests/lib/images" busybox)"
	dd if=/dev/zero of="$small/full" bs=4k 2>/dev/null || true
	truncate -s -256k "$small/full"
	MOAT_ROOT=$small MOAT_RUN=$TEST_DIR/run run --separate-stderr "$MOAT" create --isolation vm busybox
	left=$(ls "$small/workloads")
	umount "$small"
	[ "$status $left" = '125 ' ]
	one_line
	[[ $stderr == *"make the disk"*"No space left on device"* ]]
}

@test "a machine keeps what it has written from one start to the next; its disk is clean in between" {
	vm -d --name box --network none busybox sh -c '
		trap "exit 0" TERM; echo more >>/kept; echo "lines: $(wc -l </kept)"; while :; do sleep 0.1; done'
	local number
	for number in 1 2; do
		eventually logs_have box "lines: $number"
		moat stop -t 60 box
		disk_is_clean box
		moat start box
	done
	eventually logs_have box 'lines: 3'
}

@test "a machine whose workload ignores its stop signal still writes what it holds" {
	vm -d --name box --network none busybox sh -c '
		trap "" TERM; echo words >/kept; echo written; while :; do sleep 0.1; done'
	eventually logs_have box written
	moat stop -t 1 box
	[ "$(of box State ExitCode)" = 137 ]
	disk_is_clean box
	moat start box
	[ "$(moat exec box cat /kept)" = words ]
	# Nor does a machine that does not answer hold up its end.
	kill -STOP "$(of box State Pid)"
	moat stop -t 1 box
	[ "$(of box State ExitCode)" = 137 ]
}

@test "a machine that is killed finds what it has synced" {
	vm -d --name box --network none busybox sleep 1000
	moat exec box sh -c 'mkdir /kept; echo words | dd of=/kept/file conv=fsync 2>/dev/null'
	kill -9 "$(of box State Pid)"
	eventually state_is box exited
	run -0 dumpe2fs -h "$(upper_of box)"
	[[ $output == *needs_recovery* ]]
	moat start box
	[ "$(moat exec box cat /kept/file)" = words ]
}

@test "a machine gives back the space of what it deletes" {
	vm -d --name box --network none busybox sleep 1000
	moat exec box dd if=/dev/zero of=/big bs=1M count=96 conv=fsync
	takes_kib box $((96 << 10)) $((112 << 10))
	moat exec box sh -c 'rm /big; sync'
	eventually takes_kib box 1 $((16 << 10))
}

@test "a machine with --rm writes to its memory" {
	vm --rm -d --name box --network none busybox sleep 1000
	run -0 moat exec box sh -c 'ls /sys/block; grep " / " /proc/mounts'
	[[ $output != *vda* && $output == *volatile* ]]
	[ ! -e "$(upper_of box)" ]
}
