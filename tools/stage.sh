# stage - sourced by tools/test and .ci/run: runs the stages of a test run, prints the seconds of
# each, and keeps one row per test in $results.
# shellcheck shell=sh
results=${MOAT_RESULTS:-$PWD/build/results.tsv}
export MOAT_RESULTS="$results"
started=$(date +%s)
stage_table=

# stage NAME COMMAND ...: a stage that fails is a row of its own, so that no failure is lost between
# the programs; the run goes on.
stage() {
	stage_name=$1
	shift
	echo "== $stage_name"
	stage_started=$(date +%s)
	stage_status=0
	"$@" || stage_status=$?
	stage_seconds=$(($(date +%s) - stage_started))
	if [ $stage_status -ne 0 ]; then
		printf '%s\tfail\t%s\tended with status %s\n' "$stage_name" "the stage" "$stage_status" >>"$results"
	fi
	stage_table="$stage_table$(printf '%6d s  %s' $stage_seconds "$stage_name")
"
	echo "== $stage_name: $stage_seconds s"
}

stage_times() {
	printf '%s' "$stage_table"
	printf '%6d s  all\n' $(($(date +%s) - started))
}
