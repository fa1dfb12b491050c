/** Texts of `--help`, by command. */
export const usage = {
  lab: `A data centre in network namespaces: a core, sites with a router each, hosts, pods.

  lab up        make a lab
  lab list      labs on this machine
  lab show      one lab as a tree
  lab exec      run a program in a pod
  lab record    record what hosts send, and check it
  lab down      remove labs

lab COMMAND --help says more. Exit codes: 0 done, 1 failed, 2 not understood.
(With npm: npm run lab -- up --sites 2)`,

  up: `lab up [--sites N] [--hosts-per-site N] [--pods N] [--id ID] [--hold] [--json]

Makes a lab and leaves it running until "lab down".

  --sites N            sites behind the core (3)
  --hosts-per-site N   hosts in each site (1)
  --pods N             pods on each host, named p1, p2, ... over the whole lab (1)
  --id ID              1 to 12 lower-case letters and digits (random)
  --hold               keep the command running and remove the lab when it ends, however it ends
  --json               print the lab as JSON`,

  list: `lab list [--json]

Lists the labs on this machine. STALE are those whose owner died: "lab down --stale" removes them.`,

  show: `lab show ID [--json]

Shows a lab's sites, hosts and pods with their addresses.`,

  exec: `lab exec ID POD -- COMMAND [ARGUMENT...]

Runs a command in a pod's network, PID and mount namespaces, and exits with its exit code.`,

  record: `lab record ID [--seconds N] [--filter EXPRESSION] [--json]

Records every packet that hosts send into the fabric, for N seconds (10) or until Ctrl-C, and checks that each
has a source address that the lab had given to its sender, and is not encapsulated.
Exit code 1 when a check fails.

  --filter EXPRESSION  only these packets, as tcpdump wants it
  --json               print the packets and violations as JSON`,

  down: `lab down ID
lab down --all
lab down --stale

Removes a lab, all labs, or those whose owner died: processes, namespaces and files.`,
} as const;

export type CommandName = Exclude<keyof typeof usage, 'lab'>;
