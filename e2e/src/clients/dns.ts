/** dnsmasq: a DNS server that says its name, gives addresses for names, and may pass questions on. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isListening, type Pod } from '../lab/index.js';
import { podFolder } from './folder.js';
import { installed } from './programs.js';
import { Server } from './server.js';

/** Its TXT record is the server's name. */
export const whoamiName = 'whoami.replica.test';

export interface DnsOptions {
  /** default: the pod's name */
  name?: string;
  /** default 53, which is what resolv.conf can name */
  port?: number;
  /** addresses by name */
  records?: Record<string, readonly string[]>;
  /**
   * servers that it asks what it does not know itself, `whoami` too then: an unmodified client that uses sockets that
   * are not connected (sendto, recvmsg)
   */
  upstreams?: ReadonlyArray<{ address: string; port: number }>;
}

/** Starts a DNS server, on UDP and TCP. What is not in its records does not exist, unless it has upstreams. */
export async function startDns(pod: Pod, options: DnsOptions = {}): Promise<Server> {
  const { name = pod.name, port = 53, records = {}, upstreams = [] } = options;
  const folder = await podFolder(pod, 'dns');
  const lines = Object.entries(records).flatMap(([host, addresses]) =>
    addresses.map((address) => `${address} ${host}\n`),
  );
  writeFileSync(join(folder.outside, 'hosts'), lines.join(''));
  const args = [
    ...['--keep-in-foreground', '--log-facility=-', '--conf-file=/dev/null', '--pid-file'],
    ...['--user=nobody', '--group=nogroup', '--no-resolv', '--no-hosts', '--no-poll', '--cache-size=0'],
    ...[`--port=${port}`, `--addn-hosts=${join(folder.inside, 'hosts')}`],
    ...(upstreams.length === 0
      ? [`--txt-record=${whoamiName},${name}`, '--local=//', '--address=/#/']
      : upstreams.map(({ address, port: to }) => `--server=${address}#${to}`)),
  ];
  return await Server.start(pod, {
    command: installed('dnsmasq'),
    args,
    port,
    ready: () => isListening(pod, port, 'udp') && isListening(pod, port),
    folder,
  });
}
