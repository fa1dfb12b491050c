/** How programs in a pod look names up: files of the pod's own in place of the machine's. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../lab/index.js';
import { podFolder, type PodFolder } from './folder.js';

export interface Names {
  /** addresses by name, as in /etc/hosts; without it only localhost is there */
  hosts?: Record<string, readonly string[]>;
  /** addresses of DNS servers, asked at port 53; without it there is none, and a look-up of what is not in hosts fails */
  servers?: readonly string[];
  /** domains that are tried for short names */
  search?: readonly string[];
}

const folders = new WeakMap<Pod, Promise<PodFolder>>();

/**
 * Says what the names are from now on, for libc as for Go and Java. May be called again: what was said before is
 * replaced.
 */
export async function resolveBy(pod: Pod, names: Names): Promise<void> {
  if (!folders.has(pod)) folders.set(pod, mounted(pod, names));
  write(await folders.get(pod), names);
}

async function mounted(pod: Pod, names: Names): Promise<PodFolder> {
  const folder = await podFolder(pod, 'etc');
  write(folder, names);
  for (const file of Object.keys(contents(names)))
    if (existsSync(`/etc/${file}`))
      await pod.run('mount', ['--bind', join(folder.inside, file), `/etc/${file}`]);
  return folder;
}

/** Into the same files: those are what is mounted. */
function write(folder: PodFolder | undefined, names: Names): void {
  for (const [file, text] of Object.entries(contents(names)))
    writeFileSync(join(folder?.outside ?? '', file), text);
}

function contents({ hosts = {}, servers = [], search = [] }: Names): Record<string, string> {
  const localhost = ['127.0.0.1 localhost', '::1 localhost'];
  const entries = Object.entries(hosts).flatMap(([name, addresses]) =>
    addresses.map((address) => `${address} ${name}`),
  );
  const resolver = [
    ...servers.map((server) => `nameserver ${server}`),
    ...(search.length === 0 ? [] : [`search ${search.join(' ')}`]),
    'options timeout:2 attempts:2',
  ];
  return {
    hosts: `${[...localhost, ...entries].join('\n')}\n`,
    'resolv.conf': `${resolver.join('\n')}\n`,
    'nsswitch.conf': 'hosts: files dns\npasswd: files\ngroup: files\nservices: files\nprotocols: files\n',
  };
}
