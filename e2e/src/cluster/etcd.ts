/** The store behind an API server. */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { present } from '../clients/programs.js';
import type { Daemons } from './daemons.js';
import { loopback, onFreePorts } from './ports.js';

export interface EtcdPorts {
  client: number;
  peer: number;
}

/**
 * What starts it, with its data on a tmpfs in a mount namespace of its own, which goes with it: nothing has to last. (An
 * fsync costs nothing there.)
 * @param data an empty folder
 * @throws ServalError ERR_UNSUPPORTED when it is not installed
 */
export function etcdCommand(data: string, { client, peer }: EtcdPorts, name = 'default'): string[] {
  const url = `http://${loopback}:${client}`;
  const peerUrl = `http://${loopback}:${peer}`;
  return [
    ...['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs etcd "$0" && exec "$@"', data],
    ...[present('/usr/bin/etcd'), '--name', name, '--data-dir', join(data, 'data')],
    ...['--log-level', 'error', '--logger', 'zap'],
    // It elects itself, after up to a second with the default.
    ...['--heartbeat-interval', '50', '--election-timeout', '250'],
    ...['--listen-client-urls', url, '--advertise-client-urls', url],
    ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
    ...['--initial-cluster', `${name}=${peerUrl}`],
  ];
}

/** On ports that it picks. @returns its URL, when it is ready. @throws ServalError as Daemon.ready does */
export function startEtcd(daemons: Daemons): Promise<string> {
  return onFreePorts(2, ([client = 0, peer = 0]) => startEtcdAt(daemons, { client, peer }));
}

/** @throws ServalError ERR_CONFLICT when somebody has one of the ports */
export async function startEtcdAt(daemons: Daemons, ports: EtcdPorts): Promise<string> {
  const data = join(daemons.folder, 'etcd');
  mkdirSync(data, { recursive: true });
  const name = randomBytes(8).toString('hex');
  const url = `http://${loopback}:${ports.client}`;
  const daemon = daemons.start('etcd', etcdCommand(data, ports, name));
  await daemon.ready((signal) => requireReady(url, name, signal));
  return url;
}

/** By its name it is told apart from one of somebody else at the same port. */
async function requireReady(url: string, name: string, signal: AbortSignal): Promise<void> {
  const list = await fetch(`${url}/v3/cluster/member/list`, { method: 'POST', body: '{}', signal });
  const { members } = (await list.json()) as { members: { name?: string }[] };
  if (!members.some((member) => member.name === name)) throw new Error('another etcd answers at its port');
  const { health } = (await (await fetch(`${url}/health`, { signal })).json()) as { health: string };
  if (health !== 'true') throw new Error('it is not healthy yet');
}
