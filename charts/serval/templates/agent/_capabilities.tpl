{{/*
What the agent may do, one by one, in place of `privileged`, which would be all of them, every device, and no seccomp or AppArmor.
The agent's code is the measure; what nothing of it needs is not here.
*/}}

{{/* For the data plane: always. */}}
{{- define "serval.agentCapabilities" -}}
# Loads programs, and makes maps.
- BPF
# Attaches them to devices of pods; routes, rules, addresses and conntrack by netlink; closes sockets of dead replicas.
- NET_ADMIN
# Keeps the verifier from what it does to strangers' programs, which would make ours too long.
- PERFMON
# Enters the network namespaces of pods (setns), attaches programs to the root of the cgroups.
- SYS_ADMIN
# Opens /proc/PID/ns/net of pods' processes.
- SYS_PTRACE
# Sends what was kept during a move, from packet sockets.
- NET_RAW
# Goes before ordinary processes while a workload stands still; it doesn't start without.
- SYS_NICE
{{- end -}}

{{/* For CRIU, which takes processes apart and puts them together. */}}
{{- define "serval.criuCapabilities" -}}
# Gives restored processes the pids that they had, reads what memory is mapped of which file.
- CHECKPOINT_RESTORE
# Gives them their limits back.
- SYS_RESOURCE
# Opens their files by handles, whoever they belong to.
- DAC_READ_SEARCH
# A restored process gets no capability that its restorer lacks. These are what container runtimes give by default; a workload
# that was given more can't be moved by this agent.
- AUDIT_WRITE
- CHOWN
- DAC_OVERRIDE
- FOWNER
- FSETID
- KILL
- MKNOD
- NET_BIND_SERVICE
- SETFCAP
- SETGID
- SETPCAP
- SETUID
- SYS_CHROOT
{{- end -}}
