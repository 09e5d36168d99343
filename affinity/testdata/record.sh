#!/bin/sh
# Records what this package reads of a machine, as path:line, in the form of the
# files under machines/. The first line is the mask of this shell.
cd / || exit 1
sed -n 's/^Cpus_allowed_list:[[:space:]]*/mask:/p' /proc/self/status
cpu=sys/devices/system/cpu
grep -sH . $cpu/online \
	$cpu/cpu*/topology/core_cpus_list $cpu/cpu*/topology/thread_siblings_list \
	$cpu/cpu*/topology/physical_package_id $cpu/cpu*/cpu_capacity \
	$cpu/cpu*/cache/index*/coherency_line_size \
	sys/devices/system/node/node*/cpulist \
	sys/devices/cpu_core/cpus sys/devices/cpu_atom/cpus sys/devices/cpu_lowpower/cpus
grep -H -e '^0::' -e ':[^:]*cpu[^:]*:' proc/self/cgroup
grep -H -e ' - cgroup2 ' -e ' - cgroup .*cpu' proc/self/mountinfo
sed -n 's/^[0-9]* [0-9]* [^ ]* [^ ]* \/\([^ ]*\) .* - cgroup.*/\1/p' proc/self/mountinfo | while read -r mount; do
	find "$mount" -maxdepth 3 \( -name cpu.max -o -name 'cpu.cfs_[pq]*_us' \
		-o -name 'cpuset.*cpus' -o -name cpuset.cpus.effective \) -exec grep -sH . {} +
done
exit 0
