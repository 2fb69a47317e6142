#!/usr/bin/env bats
# soft - machines on the software CPU, which every host has.  That it is a machine like any other is shown
# by the suites of vm.bats; here, what is its own.
# One wall: vm, in its name.
# Not for the lab: it tests the same code on a processor that is itself emulated, minutes for each start.
load ../lib/common

soft() {
	"$MOAT" run --vm --accel soft "$@"
}

more_setup_file() {
	import_kernel
	# The first machine makes the guest's file system, which an engine keeps.
	soft --rm --network none busybox true
}

@test "the software CPU is there, and a machine says that it runs on it" {
	run -0 moat info
	[[ $output == *"Name: soft"*"Available: true"*"Boundary: seccomp"* ]]
	moat create --accel soft --name box busybox sleep 1000
	[[ $(moat inspect box) != *Accelerator* ]]
	moat start box
	[ "$(of box State Accelerator) $(of box State Boundary)" = 'soft seccomp' ]
	run -125 --separate-stderr "$MOAT" run --rm --accel soft busybox true
	one_line
	[[ $stderr == *"--accel soft is for a virtual machine"* ]]
	run -125 --separate-stderr "$MOAT" run --rm --vm --accel none busybox true
	one_line
	[[ $stderr == *'no such accelerator: "none"'* ]]
}

@test "a machine on the software CPU has a kernel of its own, a network, input, and its own exit status" {
	run -7 bash -c 'echo words | "$MOAT" run --vm --accel soft --rm -i -e GREETING=hello -w /tmp busybox sh -c "
		cat; cat /proc/sys/kernel/random/boot_id; id -u; pwd; echo \$GREETING
		ping -c 1 -W 5 \$(ip route | sed -n \"s/default via \\\\([^ ]*\\\\).*/\\\\1/p\") >/dev/null && echo reached
		wc -c /bin/busybox | cut -d\" \" -f1; sha256sum /bin/busybox | cut -d\" \" -f1; exit 7"'
	[ "${lines[0]}" = words ]
	[ "${lines[1]}" != "$(cat /proc/sys/kernel/random/boot_id)" ]
	[[ ${lines[1]} =~ ^[0-9a-f-]{36}$ ]]
	[ "${lines[2]} ${lines[3]} ${lines[4]}" = "0 /tmp hello" ]
	[ "${lines[5]}" = reached ]
	[ "${lines[6]}" = "$(stat -c %s /bin/busybox)" ]
	[ "${lines[7]}" = "$(sha256sum </bin/busybox | cut -d' ' -f1)" ]
}

@test "exec, signals and stop reach a machine on the software CPU, and it leaves nothing" {
	soft -d --name soft --network none busybox sh -c 'trap "exit 3" TERM; while :; do sleep 1; done'
	[ "$(moat exec soft sh -c 'expr 6 \* 7; kill -0 1 && echo there')" = $'42\nthere' ]
	moat stop -t 60 soft
	[ "$(moat wait soft)" = 3 ]
	moat rm soft
}

@test "two processors of the software CPU make one machine" {
	[ "$(soft --rm --network none --cpus 2 busybox sh -c '
		yes >/dev/null & yes >/dev/null & sleep 1; kill %1 %2; nproc')" = 2 ]
}
