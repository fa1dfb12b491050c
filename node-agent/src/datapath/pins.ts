/**
 * The maps on the bpf file system: made once, then adopted by every later agent. What is pinned is the truth; a set
 * that was never finished (its maker was killed in between) is taken away and made again.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { native, type BpfMap } from '../native.js';
import { salConfig, salLimit, type SalConfig } from './abi.generated.js';
import { explained } from './errors.js';

/** Those of the service table, which the programs at connect() use too. */
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
  'sal_guest_flows',
  'sal_guest_scratch',
  'sal_waiting',
  'sal_events',
] as const;

export type ServiceMapName = (typeof serviceMapNames)[number];

/** Name in the object, and of the pin. The configuration is pinned last: where it is, the set is whole. */
export const mapNames = [
  'sal_buckets',
  'sal_slots',
  'sal_pods',
  'sal_pairs',
  'sal_fragments',
  'sal_sessions',
  'sal_drops',
  'sal_kept_packets',
  'sal_programs',
  ...serviceMapNames,
  'sal_config_map',
] as const;

export type MapName = (typeof mapNames)[number];

export interface SharedMaps {
  maps: Record<MapName, BpfMap>;
  config: SalConfig;
  /** true where the maps were there before */
  adopted: boolean;
}

export interface PinOptions {
  /** folder of our own on a bpf file system */
  pinRoot: string;
  objectPath: string;
  /** room for flow ends in both directions; a power of two up to 2^20 */
  slots: number;
  /** pairs of virtual IP and port; default 65,536 */
  services?: number;
  /** room for choices of replicas, two in each element of 8 bytes; default 65,536 */
  choices?: number;
  /** room for replicas, 32 bytes each; default 16,384 */
  replicas?: number;
}

const mapsFolder = (pinRoot: string): string => join(pinRoot, 'maps');
export const podsFolder = (pinRoot: string): string => join(pinRoot, 'pods');

/** Open the pinned maps, or make them. @throws ServalError ERR_STATE_MISMATCH, ERR_BAD_OBJECT, ERR_NO_PERMISSION, ... */
export async function openMaps(options: PinOptions): Promise<SharedMaps> {
  const folder = mapsFolder(options.pinRoot);
  if (existsSync(join(folder, 'sal_config_map'))) return adoptMaps(options);
  rmSync(folder, { recursive: true, force: true });
  return createMaps(options);
}

async function adoptMaps(options: PinOptions): Promise<SharedMaps> {
  const folder = mapsFolder(options.pinRoot);
  return explained(folder, () => {
    const config = readConfig(folder);
    if (config?.abiVersion !== salLimit.ABI_VERSION) {
      throw new ServalError('ERR_STATE_MISMATCH', {
        subject: folder,
        reason: `the pinned maps are of version ${config?.abiVersion ?? 'unknown'}, this agent reads version ${salLimit.ABI_VERSION}`,
        remedy: 'Run the agent that made them, or end the translated flows and remove the folder',
      });
    }
    const maps = openAll((name) => native().openPinnedMap(join(folder, name)));
    return { maps, config, adopted: true };
  });
}

/** Before anything else is opened: other versions have other maps. */
function readConfig(folder: string): SalConfig | undefined {
  const map = native().openPinnedMap(join(folder, 'sal_config_map'));
  const value = map.lookup(Buffer.alloc(4)) ?? Buffer.alloc(0);
  map.close();
  return value.length === salConfig.size ? salConfig.read(value) : undefined;
}

async function createMaps(options: PinOptions): Promise<SharedMaps> {
  checkSlots(options.slots);
  const folder = mapsFolder(options.pinRoot);
  return explained(options.objectPath, async () => {
    mkdirSync(folder, { recursive: true });
    mkdirSync(podsFolder(options.pinRoot), { recursive: true });
    const object = native().openObject(options.objectPath);
    try {
      const config = newConfig(options.slots);
      object.setMaxEntries('sal_buckets', config.bucketMask + 1);
      object.setMaxEntries('sal_slots', options.slots);
      object.setMaxEntries('sal_services', options.services ?? salLimit.SERVICES_MAX);
      object.setMaxEntries('sal_choices', Math.ceil((options.choices ?? 65_536) / 2));
      object.setMaxEntries('sal_replicas', options.replicas ?? 16_384);
      for (const program of object.programNames()) object.setAutoload(program, false);
      await object.load();
      const maps = openAll((name) => object.map(name));
      maps.sal_config_map.update(Buffer.alloc(4), encodeConfig(config));
      for (const name of mapNames) maps[name].pin(join(folder, name));
      return { maps, config, adopted: false };
    } finally {
      object.close();
    }
  });
}

function checkSlots(slots: number): void {
  if (Number.isInteger(slots) && slots >= 16 && slots <= salLimit.SLOTS_MAX && (slots & (slots - 1)) === 0)
    return;
  throw new ServalError('ERR_BAD_INPUT', {
    subject: `slots ${slots}`,
    reason: `it is not a power of two from 16 to ${salLimit.SLOTS_MAX}`,
    remedy: 'Choose one: each flow end takes two slots of 128 bytes',
  });
}

function openAll(open: (name: MapName) => BpfMap): Record<MapName, BpfMap> {
  return Object.fromEntries(mapNames.map((name) => [name, open(name)])) as Record<MapName, BpfMap>;
}

/** A bucket of twelve ways for every slot: a full table then has an overflowing bucket once in 60,000 seeds. */
function newConfig(slots: number): SalConfig {
  const seed = Array.from({ length: salLimit.SEED_WORDS }, () => randomBytes(8).readBigUInt64LE());
  return {
    abiVersion: salLimit.ABI_VERSION,
    bucketMask: slots - 1,
    slots,
    kernelContext: 0,
    seed,
    mappedPrefixes: mappedPrefixes(seed),
  };
}

/** sal_hash_prefixes() of lib/hash.h for two IPv4-mapped addresses, whose words are 0, 0, ::ffff. */
function mappedPrefixes(seed: readonly bigint[]): bigint {
  const at = (i: number): bigint => seed[i] as bigint;
  const mapped = 0xffff0000n;
  const sum = at(0) + at(1) * at(2) + (at(3) + mapped) * at(4) + at(5) * (at(6) + mapped);
  return BigInt.asUintN(64, sum);
}

export function encodeConfig(config: SalConfig): Buffer {
  const buffer = Buffer.alloc(salConfig.size);
  salConfig.write(buffer, 0, config);
  return buffer;
}

export function closeMaps(maps: Record<MapName, BpfMap>): void {
  for (const name of mapNames) maps[name].close();
}

/** Names of the pins of one kind, without their folder. */
export function pinsIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}
