#!/usr/bin/env bash
# Generators on several machines by ssh: starts kcmbench on each host, all at one time, and
# adds up their reports in OUT. Each host needs the program in its path and a clock that is
# kept right. See docs/kcmbench.md, "Several machines".
#
#   docs/kcmbench-ssh.sh all.json "host1 host2" -target server:7000 -rate 20000 -duration 30s
#
# The flags are those of kcmbench run, for each host: the whole rate is that times hosts.
# LEAD is how many seconds from now all start; they have to be connected by then.
set -euo pipefail
if [ $# -lt 3 ]; then
	echo "usage: $0 OUT.json \"HOST HOST...\" FLAGS-OF-RUN..." >&2
	exit 2
fi
out=$1
read -r -a hosts <<< "$2"
shift 2
start=$(($(date +%s) + ${LEAD:-15}))
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

pids=() files=()
for i in "${!hosts[@]}"; do
	file=$dir/$i-${hosts[i]}.json
	ssh -n "${hosts[i]}" "kcmbench run $(printf '%q ' "$@") -seed $((i + 1)) -start-at @$start -json -" > "$file" &
	pids+=($!) files+=("$file")
done
status=0
for pid in "${pids[@]}"; do
	wait "$pid" || status=1
done
kcmbench merge -o "$out" "${files[@]}"
exit $status
