/**
 * A host's own processes reach the addresses of its pods directly: a packet to one that has left waits for a hardware address
 * that nobody tells, and never comes as far as the SAL. While nobody on the host has that address, what the host itself
 * sends there takes the way to where the flow's far end is now. Forwarded packets are not concerned.
 *
 *   rule 110: iif lo to OLD lookup 5341          made here, and (by the kernel's source check) answers from there
 *   table 5341: OLD via the next hop towards NEW
 *
 * Behind the local table, at 0 or (where a stack was prepared for a moved pod) at 100: an address of this host's own is it.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { isIP } from 'node:net';
import { ServalError } from '@serval/api';

const run = promisify(execFile);
const rulePref = 110;
const table = 5341;

interface Route {
  type?: string;
  gateway?: string;
  via?: { family: string; host: string };
  dev?: string;
}

/**
 * Lead what the stack at `netns` sends to `old` by the way to `next`, where it would look for `old` on a segment of its own,
 * or nowhere. Again with another `next`: it follows. Returns false where `old` lies behind a gateway: then nothing is needed.
 * For as long as nobody on this host has `old`; the caller knows. 15 ms.
 * @throws ServalError ERR_BAD_INPUT, ERR_KERNEL (no route to `next`, or the namespace is gone)
 */
export async function detour(netns: string, old: string, next: string): Promise<boolean> {
  requireAddresses(netns, old, next);
  await endDetour(netns, old);
  const now = await routeTo(netns, old).catch(() => undefined);
  if (now?.type === 'local' || (now !== undefined && hopOf(now) !== undefined)) return false;
  const way = await routeTo(netns, next);
  const hop = hopOf(way) ?? next;
  const via = hop.includes(':') && !old.includes(':') ? ['inet6', hop] : [hop];
  const family = familyOf(old);
  const route = ['via', ...via, 'dev', way.dev ?? '', 'onlink', 'table', String(table)];
  await ip(netns, [family, 'route', 'replace', old, ...route]);
  await ip(netns, [family, 'rule', 'add', ...ruleFor(old)]);
  return true;
}

/** Undo it. Fine where there is none. */
export async function endDetour(netns: string, old: string): Promise<void> {
  requireAddresses(netns, old);
  const family = familyOf(old);
  await ip(netns, [family, 'rule', 'del', ...ruleFor(old)]).catch(ignoreAbsent);
  await ip(netns, [family, 'route', 'del', old, 'table', String(table)]).catch(ignoreAbsent);
}

function ruleFor(old: string): string[] {
  return ['pref', String(rulePref), 'iif', 'lo', 'to', old, 'lookup', String(table)];
}

function familyOf(address: string): '-4' | '-6' {
  return address.includes(':') ? '-6' : '-4';
}

/** The next hop, undefined where the destination is on a segment of its own. */
function hopOf({ gateway, via }: Route): string | undefined {
  return gateway ?? via?.host;
}

async function routeTo(netns: string, address: string): Promise<Route> {
  const [route] = JSON.parse(await ip(netns, ['-json', 'route', 'get', address])) as Route[];
  if (route?.dev !== undefined) return route;
  throw failure(netns, `route get ${address}`, 'there is no route');
}

async function ip(netns: string, words: readonly string[]): Promise<string> {
  try {
    return (await run('nsenter', [`--net=${netns}`, 'ip', ...words])).stdout;
  } catch (cause) {
    throw failure(netns, words.join(' '), (cause as { stderr?: string }).stderr?.trim() ?? 'unknown', cause);
  }
}

function failure(netns: string, words: string, reason: string, cause?: unknown): ServalError {
  return new ServalError('ERR_KERNEL', {
    subject: `network namespace ${netns}`,
    reason: `\`ip ${words}\` was refused: ${reason}`,
    remedy: 'Check that the namespace exists and has a route to where the flow is now',
    cause,
    details: { stderr: reason },
  });
}

function ignoreAbsent(error: unknown): void {
  const absent = /No such (file|process)|FIB table does not exist|Cannot find/i;
  if (!(error instanceof ServalError) || !absent.test(String(error.details['stderr']))) throw error;
}

function requireAddresses(netns: string, ...addresses: string[]): void {
  const bad = addresses.find((address) => isIP(address) === 0 || address.includes('%'));
  if (bad === undefined) return;
  throw new ServalError('ERR_BAD_INPUT', {
    subject: netns,
    reason: `"${bad}" is no IP address`,
    remedy: 'Give plain IPv4 or IPv6 addresses, without a prefix length',
  });
}
