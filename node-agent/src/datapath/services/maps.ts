/** The maps of the service table on the bpf file system: made once, then adopted by every later agent. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { native, type BpfMap } from '../../native.js';
import { explained } from '../errors.js';

/** The last is pinned last: where it is, the set is whole. */
export const serviceMapNames = [
  'sal_services',
  'sal_choices',
  'sal_replicas',
  'sal_service_counts',
  'sal_clients',
  'sal_own_replicas',
  'sal_left_addresses',
  'sal_sockets',
  'sal_datagrams',
  'sal_waiting',
  'sal_events',
] as const;

export type ServiceMapName = (typeof serviceMapNames)[number];
export type ServiceMaps = Record<ServiceMapName, BpfMap>;

export interface ServiceMapOptions {
  pinRoot: string;
  objectPath: string;
  /** pairs of virtual IP and port */
  services: number;
  /** room for choices, two in each element of 8 bytes */
  choices: number;
  /** room for replicas, 40 bytes each */
  replicas: number;
}

/** @throws ServalError ERR_BAD_OBJECT, ERR_NO_PERMISSION, ERR_KERNEL */
export async function openServiceMaps(options: ServiceMapOptions): Promise<ServiceMaps> {
  const folder = join(options.pinRoot, 'services');
  const last = serviceMapNames.at(-1) as ServiceMapName;
  if (existsSync(join(folder, last)))
    return explained(folder, () => openAll((name) => native().openPinnedMap(join(folder, name))));
  rmSync(folder, { recursive: true, force: true });
  return explained(options.objectPath, async () => {
    mkdirSync(folder, { recursive: true });
    const object = native().openObject(options.objectPath);
    try {
      object.setMaxEntries('sal_services', options.services);
      object.setMaxEntries('sal_choices', Math.ceil(options.choices / 2));
      object.setMaxEntries('sal_replicas', options.replicas);
      for (const program of object.programNames()) object.setAutoload(program, false);
      await object.load();
      const maps = openAll((name) => object.map(name));
      for (const name of serviceMapNames) maps[name].pin(join(folder, name));
      return maps;
    } finally {
      object.close();
    }
  });
}

function openAll(open: (name: ServiceMapName) => BpfMap): ServiceMaps {
  return Object.fromEntries(serviceMapNames.map((name) => [name, open(name)])) as ServiceMaps;
}

export function closeServiceMaps(maps: ServiceMaps): void {
  for (const name of serviceMapNames) maps[name].close();
}
