# common - what every .bats file starts from: an engine of its own for each file (MOAT_ROOT, MOAT_RUN),
# with the busybox image loaded; after each test its workloads are removed and an outside look must find
# what it found before.
# shellcheck shell=bash
bats_require_minimum_version 1.5.0

MOAT_WALL=${MOAT_WALL:-container}
# How much longer anything may take than on a host: in the lab the processor is emulated.
# shellcheck disable=SC2034
SLOW=${MOAT_LAB:+5}
SLOW=${SLOW:-1}

# Every test runs once for each wall.
moat() {
	case ${1:-} in
	run | create) "$MOAT" "$1" --isolation "$MOAT_WALL" "${@:2}" ;;
	*) "$MOAT" "$@" ;;
	esac
}

leaks() {
	"${MOAT%/*}/leaks" "$@"
}

setup_file() {
	mkdir -p "$MOAT_TMP"
	FILE_DIR=$(mktemp -d "$MOAT_TMP/file.XXXXXX")
	export FILE_DIR MOAT_ROOT=$FILE_DIR/root MOAT_RUN=$FILE_DIR/run
	moat load -i "$("$MOAT_TOP/tests/lib/images" busybox)"
	# The first run makes what an engine keeps (the image mount, the bridge, the guest's file system),
	# info what it knows of the processor: not a leak.
	moat info >/dev/null
	"$MOAT" run --rm busybox true
	if [ "$MOAT_WALL" = vm ] && accel=$(accelerator); then
		echo "# accel=$accel" >&3 # read by tests/lib/suite
		import_kernel
		moat run --rm busybox true
	fi
	eventually links_are_gone
	if [ "$(type -t more_setup_file)" = function ]; then
		more_setup_file
	fi
}

# links_are_gone: those of workloads, which the kernel removes when it comes to it.
links_are_gone() {
	[[ ! $(</proc/net/dev) =~ mt[0-9a-f]{12}: ]]
}

# accelerator: the one that machines run on; fails where there is none.
accelerator() {
	moat info --format '{{json .Accelerators}}' | python3 -IS -c '
import json, sys
usable = [row["Name"] for row in json.load(sys.stdin) if row["Available"]]
print(*usable[:1])
sys.exit(not usable)'
}

# import_kernel: for machines; the lab has unpacked the package outside.
import_kernel() {
	local unpacked=$MOAT_TOP/tests/.cache/lab/kernel
	[ -z "$(moat kernel ls -q)" ] || return 0
	if [ -n "${MOAT_LAB:-}" ]; then
		moat kernel import "$unpacked"/boot/vmlinuz-* "$unpacked" >/dev/null
	else
		moat kernel import "$("$MOAT_TOP/tests/lib/kernel")" >/dev/null
	fi
}

teardown_file() {
	remove_workloads
	moat system prune
	rm -rf "$FILE_DIR"
}

# left_out: skips what tests/expected-skips leaves out of the lab, and behind the wall of machines.
left_out() {
	local pattern kind reason key="${MOAT_STAGE:-system}/$BATS_TEST_DESCRIPTION wall=$MOAT_WALL"
	while read -r pattern kind reason; do
		[ "$kind" = lab ] || [ "$kind" = vm ] || continue
		# shellcheck disable=SC2053 # a pattern
		[[ ${key//_/ } != ${pattern//_/ } ]] || skip "$reason"
	done <"$MOAT_TOP/tests/expected-skips"
}

setup() {
	left_out
	TEST_DIR=$(mktemp -d "$FILE_DIR/test.XXXXXX")
	images_before=$(moat images -q --no-trunc | sort -u)
	leaks look >"$TEST_DIR/before"
}

teardown() {
	local status=0
	[ -n "${TEST_DIR:-}" ] || return 0 # left out
	[ "${BATS_TEST_COMPLETED:-}" = 1 ] || moat ps -a >&2
	if [ "$(type -t more_teardown)" = function ]; then
		more_teardown
	fi
	remove_workloads || status=1
	remove_images || status=1
	leaks compare "$TEST_DIR/before" >&2 || status=1
	rm -rf "$TEST_DIR"
	return $status
}

# Images that the test has loaded.
remove_images() {
	local id
	for id in $(moat images -q --no-trunc | sort -u); do
		grep -qxF "$id" <<<"$images_before" || moat rmi -f "$id" >/dev/null
	done
}

remove_workloads() {
	local ids
	ids=$(moat ps -aq)
	[ -z "$ids" ] || moat rm -f $ids >/dev/null
}

# eventually COMMAND ...: until it succeeds, at most ten seconds.
eventually() {
	local deadline=$((SECONDS + 10 * SLOW))
	until "$@"; do
		if [ $SECONDS -ge $deadline ]; then
			echo "never came true: $*" >&2
			return 1
		fi
		sleep 0.05
	done
}

# field KEY ...: the value at that way into the JSON on standard input; a list prints an item a line.
field() {
	python3 -IS -c '
import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1:]:
    value = value[int(key) if isinstance(value, list) else key]
print("\n".join(map(str, value)) if isinstance(value, list) else json.dumps(value)
      if isinstance(value, (dict, bool)) or value is None else value)' "$@"
}

# of NAME KEY ...: a field of a workload's inspect document.
of() {
	moat inspect "$1" | field 0 "${@:2}"
}

state_is() {
	[ "$(of "$1" State Status)" = "$2" ]
}

logs_have() {
	moat logs "$1" 2>&1 | grep -qF -- "$2"
}

# one_line: $output (with --separate-stderr $stderr) is one line that a person can act on.
one_line() {
	local text=${1-${stderr-$output}}
	[ -n "$text" ] && [ "$(wc -l <<<"$text")" -eq 1 ]
}

# image NAME OPTION ...: an image made by mkimage, loaded as NAME.
image() {
	"$MOAT_TOP/tests/lib/mkimage.py" docker-archive "$TEST_DIR/image.tar" --tag "$1:latest" "${@:2}"
	moat load -q -i "$TEST_DIR/image.tar"
	rm "$TEST_DIR/image.tar"
}

# cgroup_file ID CONTROLLER V1-NAME V2-NAME: the content of a workload's limit, wherever this host has it.
cgroup_file() {
	local base=/sys/fs/cgroup folder
	if [ -e $base/cgroup.controllers ]; then
		folder=$(find $base -type d -path "*moat*$1*" | head -n 1)
		cat "$folder/$4"
	else
		folder=$(find "$base/$2" -type d -path "*moat*$1*" | head -n 1)
		cat "$folder/$3"
	fi
}

# not_on KIND: skips on hosts of that kind; tests/expected-skips must have the row.
not_on() {
	if "$MOAT_TOP/tools/hostkind" "$1"; then
		skip "$1"
	fi
}

# tty STEP ... -- COMMAND ...: runs COMMAND on a terminal of its own (tests/lib/terminal.py).
tty_run() {
	"$MOAT_TOP/tests/lib/terminal.py" "$@"
}
