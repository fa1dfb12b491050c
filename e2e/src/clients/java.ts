/** A Java client, in the ways that Java has (see java/WhoClient.java). */
import { canonicalAddress, type NetworkNode } from '../lab/index.js';
import { environment, installed, javaClasses } from './programs.js';
import { jsonLines, told, type Answer, type Told } from './told.js';

export const javaWays = [
  'socket',
  'channel',
  'selector',
  'http',
  'datagram-socket',
  'datagram-channel',
] as const;
export type JavaWay = (typeof javaWays)[number];

export interface JavaOptions {
  count?: number;
  /** default socket */
  way?: JavaWay;
  /** open IPv4 sockets; by default Java opens IPv6 sockets for IPv4 addresses too */
  ipv4Only?: boolean;
}

/** @throws ServalError ERR_KERNEL with Java's stack trace when one of them fails */
export async function javaClient(
  node: NetworkNode,
  host: string,
  port: number,
  { count = 1, way = 'socket', ipv4Only = false }: JavaOptions = {},
): Promise<Told> {
  const args = [
    // A short program: the second compiler and more threads only cost time.
    ...['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xmx64m', '-XX:-UsePerfData'],
    `-Djava.net.preferIPv4Stack=${ipv4Only}`,
    ...['-cp', javaClasses(), 'WhoClient', way, host, String(port), String(count)],
  ];
  const output = await node.run(installed('java'), args, { env: environment });
  return told(jsonLines<Answer>(output).map((answer) => ({ ...answer, peer: shortened(answer.peer ?? '') })));
}

/** Java writes all eight groups of an IPv6 address. */
function shortened(place: string): string {
  return place.replace(/^\[(.*)\]/, (_, address: string) => `[${canonicalAddress(address)}]`);
}
