/**
 * A pod on the segment of an address that its flow's far end has left asks for that address's hardware address before its
 * packets reach the SAL, and nobody answers. It may be a peer of OLD's, or a workload that has come to where its peer once
 * was. So the pod gets a route for that address by its gateway: whoever has it later is reached that way too. Redirects
 * are no longer believed there, since the gateway sees a shorter way and says so.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ServalError } from '@serval/api';

const run = promisify(execFile);

interface Route {
  gateway?: string;
  dev?: string;
}

export class GatewayRoutes {
  /** namespaces and addresses that have been seen to */
  private readonly done = new Set<string>();

  /** The pod is gone; its namespace's path may be another one's later. */
  forget(netns: string): void {
    for (const key of this.done) if (key.startsWith(`${netns} `)) this.done.delete(key);
  }

  async leadByGateway(netns: string, addresses: readonly string[]): Promise<void> {
    for (const address of addresses) {
      const key = `${netns} ${address}`;
      if (this.done.has(key)) continue;
      const by = await onSegment(netns, address);
      if (by !== undefined) {
        await inNetns(netns, ['sh', '-c', unbelieving(address, by.dev)]);
        await inNetns(netns, ['ip', 'route', 'replace', address, 'via', by.gateway, 'dev', by.dev]);
      }
      this.done.add(key);
    }
  }
}

/** Where an address is reached without a gateway: the gateway of everything else. */
async function onSegment(
  netns: string,
  address: string,
): Promise<{ gateway: string; dev: string } | undefined> {
  const [route] = await routes(netns, ['route', 'get', address]);
  if (route?.gateway !== undefined || route?.dev === undefined || route.dev === 'lo') return undefined;
  const family = address.includes(':') ? '-6' : '-4';
  const [byDefault] = await routes(netns, [family, 'route', 'show', 'default', 'dev', route.dev]);
  if (byDefault?.gateway === undefined) return undefined;
  return { gateway: byDefault.gateway, dev: route.dev };
}

async function routes(netns: string, args: readonly string[]): Promise<Route[]> {
  const text = await inNetns(netns, ['ip', '-json', ...args]).catch(() => '[]'); // unreachable: no route, no segment
  return JSON.parse(text || '[]') as Route[];
}

function unbelieving(address: string, dev: string): string {
  const family = address.includes(':') ? 'ipv6' : 'ipv4';
  return `for d in all ${dev}; do echo 0 >/proc/sys/net/${family}/conf/$d/accept_redirects; done`;
}

async function inNetns(netns: string, command: readonly string[]): Promise<string> {
  try {
    return (await run('nsenter', [`--net=${netns}`, ...command])).stdout;
  } catch (cause) {
    throw new ServalError('ERR_KERNEL', {
      subject: `network namespace ${netns}`,
      reason: `\`${command.join(' ')}\` failed: ${(cause as { stderr?: string }).stderr?.trim() ?? 'unknown'}`,
      remedy: 'Check that iproute2 is installed and that the namespace still exists',
      cause,
    });
  }
}
