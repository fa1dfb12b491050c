/**
 * The moved pod's own stack: lets restored sockets that are bound to OLD live in a pod whose address is NEW, while
 * OLD may belong to another pod by now. No packet marks, no NAT, one `ip -batch` for each family.
 *
 * What is set in the pod's network namespace, and what fails without it (each left out and tried):
 *
 * - **OLD/32 on `lo`.** A socket may bind to OLD (CRIU does at the restore), packets that the SAL has translated to OLD
 *   are delivered, and segments may leave with source OLD for the SAL to translate. On `lo` and not on eth0: new
 *   sockets go on choosing eth0's own address.
 * - **arp_ignore=1.** Linux answers ARP for any address of its own on any device: where OLD's new owner lives on the
 *   same segment, this pod would take its packets. Now it answers for eth0's own addresses only.
 * - **The `local` rule from preference 0 to 100.** The kernel's first rule sends everything to a local address home,
 *   before any other rule is asked. The two rules below have to come first.
 * - **`from OLD to OLD lookup local` at 40.** Both ends of a restored connection of the workload with itself are OLD:
 *   they stay inside. Without it the next rule sends them to OLD's new owner, who answers with a reset.
 * - **`iif lo to OLD lookup main` at 50.** What this pod itself sends to OLD (`iif lo` means: made here) takes the
 *   ordinary routes, to OLD's new owner; what arrives for OLD (iif eth0) does not match and is delivered. The same
 *   rule is why the new owner's packets are taken in: the kernel's source check asks the rules, as `iif lo`, for the
 *   way back, and a source that is a local address would be dropped as a martian.
 * - **`iif lo to OLD ipproto 255 lookup local` at 45.** CRIU rebuilds a half-closed connection (the peer's FIN was
 *   seen) by sending itself that FIN through a raw socket (protocol 255). It has to arrive here, not at OLD's new
 *   owner; without it the restored socket is ESTABLISHED and waits for ever.
 * - **arp_announce=2.** Else ARP requests for a packet with source OLD say "tell OLD": proxies with strict checks
 *   don't answer, and others learn a wrong neighbour.
 * - **IPv6:** the same; `nodad`, as OLD's new owner is in its right and a failed detection would take the address
 *   away; noprefixroute, as Linux else routes OLD to lo in the main table too, where the rule at 50 finds it;
 *   use_oif_addrs_only, so that no new socket is given OLD as its source: RFC 6724 prefers the destination's own
 *   address (rule 1), so that a connection to OLD's new owner had OLD at both ends. preferred_lft 0 says the same for
 *   devices that come later (the one setting here that no test misses).
 */
import { spawn } from 'node:child_process';
import { isIPv4, isIPv6 } from 'node:net';
import { ServalError } from '@serval/api';

const localPref = 100;
const selfPref = 40;
const rawPref = 45;
const newOwnerPref = 50;

type Family = '-4' | '-6';

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * Prepares the network namespace at `netnsPath` (e.g. /proc/PID/ns/net) for sockets bound to the old addresses.
 * Idempotent; call it again with another address for the next hop of a chain. 7 ms for each family.
 */
export async function prepareStack(netnsPath: string, oldAddresses: readonly string[]): Promise<void> {
  for (const family of families(netnsPath, oldAddresses)) {
    const lines = prepareBatch(family, ofFamily(family, oldAddresses));
    check(netnsPath, lines, await batch(netnsPath, family, lines, true));
  }
}

/** Takes one old address out again; with the last one of a family the stack is as it was. Idempotent. */
export async function restoreStack(netnsPath: string, oldAddress: string): Promise<void> {
  for (const family of families(netnsPath, [oldAddress])) {
    const listed = await inNetns(netnsPath, ['ip', family, '-json', 'rule', 'show'], '');
    if (listed.code !== 0) throw failure(netnsPath, 'list the rules', listed);
    const last = !otherOldAddresses(listed.stdout, oldAddress);
    const lines = restoreBatch(family, oldAddress, last);
    check(netnsPath, lines, await batch(netnsPath, family, lines, !last));
  }
}

/** The lines for `ip -batch` that make a stack ready. The new `local` rule comes before the old one goes. */
export function prepareBatch(family: Family, oldAddresses: readonly string[]): string[] {
  const lines = ['link set lo up', `rule add pref ${localPref} lookup local`];
  for (const old of oldAddresses) {
    // Lifetimes make the IPv6 address deprecated: usable by those who name it, chosen by nobody.
    const flags = family === '-6' ? ' nodad noprefixroute valid_lft forever preferred_lft 0' : '';
    lines.push(`addr replace ${old}/${family === '-6' ? 128 : 32} dev lo${flags}`);
    lines.push(...rulesFor(old).map((rule) => `rule add ${rule}`));
  }
  return [...lines, 'rule del pref 0 lookup local'];
}

/** The lines for `ip -batch` that take one old address out; `last` puts the kernel's own first rule back. */
export function restoreBatch(family: Family, oldAddress: string, last: boolean): string[] {
  const lines = rulesFor(oldAddress).map((rule) => `rule del ${rule}`);
  if (last) lines.unshift('rule add pref 0 lookup local');
  if (last) lines.push(`rule del pref ${localPref} lookup local`);
  return [...lines, `addr del ${oldAddress}/${family === '-6' ? 128 : 32} dev lo`];
}

function rulesFor(old: string): string[] {
  return [
    `pref ${selfPref} from ${old} to ${old} lookup local`,
    `pref ${rawPref} to ${old} iif lo ipproto 255 lookup local`,
    `pref ${newOwnerPref} to ${old} iif lo lookup main`,
  ];
}

function otherOldAddresses(rulesJson: string, oldAddress: string): boolean {
  const rules = JSON.parse(rulesJson || '[]') as { priority: number; dst?: string }[];
  return rules.some(
    (rule) => rule.priority === newOwnerPref && rule.dst !== undefined && rule.dst !== oldAddress,
  );
}

function families(netnsPath: string, addresses: readonly string[]): Family[] {
  const bad = addresses.find((address) => !isIPv4(address) && !isIPv6(address));
  if (bad !== undefined) {
    throw new ServalError('ERR_BAD_INPUT', {
      subject: netnsPath,
      reason: `"${bad}" is no IP address`,
      remedy: 'give plain IPv4 or IPv6 addresses, without a prefix length',
    });
  }
  return (['-4', '-6'] as const).filter((family) => ofFamily(family, addresses).length > 0);
}

function ofFamily(family: Family, addresses: readonly string[]): string[] {
  return addresses.filter(family === '-4' ? isIPv4 : isIPv6);
}

/**
 * One process for the sysctls and the batch: /proc/sys/net shows the network namespace of the one who looks.
 * `-force` goes on after a line that failed, so that a second call passes over what is there already.
 */
function batch(
  netnsPath: string,
  family: Family,
  lines: readonly string[],
  moved: boolean,
): Promise<Outcome> {
  const script = `${sysctlsFor(family, moved)} && exec ip ${family} -force -batch -`;
  return inNetns(netnsPath, ['/bin/sh', '-c', script], `${lines.join('\n')}\n`);
}

function sysctlsFor(family: Family, moved: boolean): string {
  const [announce, ignore, own] = moved ? [2, 1, 1] : [0, 0, 0];
  if (family === '-4') {
    return `cd /proc/sys/net/ipv4/conf/all && echo ${announce} >arp_announce && echo ${ignore} >arp_ignore`;
  }
  // There is no such setting for all devices at once, and lo must keep its choice.
  const set = `case $device in lo|all|default) ;; *) echo ${own} >$device/use_oif_addrs_only ;; esac`;
  return `cd /proc/sys/net/ipv6/conf && for device in *; do ${set}; done`;
}

/** Errors of lines that found the work done: there already, or gone already. */
const doneAlready =
  /File exists|No such file or directory|address not found|Cannot assign requested address/i;

function check(netnsPath: string, lines: readonly string[], outcome: Outcome): void {
  if (outcome.code === 0) return;
  // `ip` says why, then which line: "RTNETLINK answers: File exists", "Command failed -:3".
  const failed = [...outcome.stderr.matchAll(/^(.*)\nCommand failed -:(\d+)/gm)];
  const serious = failed.find(([, why]) => !doneAlready.test(why ?? ''));
  if (failed.length > 0 && serious === undefined) return;
  const line =
    serious === undefined ? 'prepare the stack' : (lines[Number(serious[2]) - 1] ?? 'an unknown line');
  throw failure(netnsPath, line, outcome);
}

function failure(netnsPath: string, action: string, outcome: Outcome): ServalError {
  const gone =
    /(cannot open|reassociate).*|No such file.*ns\/net/.test(outcome.stderr) &&
    outcome.stderr.includes('nsenter');
  return new ServalError(gone ? 'ERR_NETNS_GONE' : 'ERR_KERNEL', {
    subject: netnsPath,
    reason: gone
      ? 'the network namespace can not be entered'
      : `"${action}" was refused: ${outcome.stderr.trim()}`,
    remedy: gone
      ? 'the pod has ended, or this is not root'
      : 'iproute2 6 or later, root and kernel 5.15 are needed',
    details: { operation: action, stderr: outcome.stderr, exitCode: outcome.code },
  });
}

function inNetns(netnsPath: string, command: readonly string[], input: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn('nsenter', [`--net=${netnsPath}`, ...command], { stdio: 'pipe' });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', (error) => resolve({ code: 127, stdout, stderr: error.message }));
    child.on('close', (code) => resolve({ code: code ?? 128, stdout, stderr }));
    child.stdin.on('error', () => undefined).end(input);
  });
}
