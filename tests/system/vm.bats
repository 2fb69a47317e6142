#!/usr/bin/env bats
# vm - the same image as a virtual machine.  Where no accelerator runs a Linux kernel, only what is
# refused is tested; the machine itself is tested in the lab (docs/lab.md).
load ../lib/common

vm() {
	"$MOAT" run --isolation vm "$@"
}

needs_machines() {
	not_on no-hardware-vm
	import_kernel
}

more_setup_file() {
	if moat info | grep -A1 'Name: kvm' | grep -q 'Available: true'; then
		needs_machines
		# The first run makes what an engine keeps (the guest's file system): not a leak.
		vm --rm --network none busybox true
	fi
}

@test "a host without a usable accelerator refuses a machine at once and says why" {
	[ -z "${MOAT_LAB:-}" ] || skip lab
	run -125 --separate-stderr vm --rm busybox true
	one_line
	[[ $stderr == *"cannot run virtual machines: kvm: "* ]]
	run -0 moat info
	[[ $output == *"Name: kvm"*"Available: false"*"Reason: "* ]]
}

@test "what a machine cannot honour is refused by name" {
	local -a refused=("-v /tmp:/x" "--network host" "-m 16m")
	local -a words=("bind mounts" "--network host" "128 MiB")
	local number
	for number in "${!refused[@]}"; do
		# shellcheck disable=SC2086 # an option and its value
		run -125 --separate-stderr vm --rm ${refused[number]} busybox true
		one_line
		[[ $stderr == *"${words[number]}"* ]]
	done
}

@test "a machine runs the image on a kernel of its own, with its own exit status" {
	needs_machines
	run -7 vm --rm -e GREETING=hello -u 1000:1000 -w /tmp busybox sh -c '
		cat /proc/sys/kernel/random/boot_id; id -u; pwd; echo "$GREETING"; echo problem >&2; exit 7'
	[ "${lines[0]}" != "$(cat /proc/sys/kernel/random/boot_id)" ]
	[[ ${lines[0]} =~ ^[0-9a-f-]{36}$ ]]
	[ "${lines[1]} ${lines[2]} ${lines[3]}" = "1000 /tmp hello" ]
}

@test "a machine stands on the bridge, takes input, and reports a missing command" {
	needs_machines
	run -0 bash -c 'echo words | "$MOAT" run --isolation vm --rm -i busybox sh -c "
		cat; ip -4 -o addr show eth0; ping -c 1 -W 5 \$(ip route | sed -n \"s/default via \\([^ ]*\\).*/\\1/p\") >/dev/null && echo reached"'
	[ "${lines[0]}" = words ]
	[[ $output == *"eth0"*"reached"* ]]
	run -127 --separate-stderr vm --rm --network none busybox /no/such/command
	[[ $stderr == *"/no/such/command"* ]]
}

@test "exec, logs, kill and stop reach what runs in a machine" {
	needs_machines
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
