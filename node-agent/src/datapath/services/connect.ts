/**
 * The programs at connect(), attached to a cgroup by pinned links: they go on without an agent, and a later one puts its own
 * under the same links without a gap.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { native, type BpfObject, type BpfProgram, type CgroupHook } from '../../native.js';
import { salConnectConfig } from '../abi.generated.js';
import { explained } from '../errors.js';
import { detachLink, updateLink } from '../pinned-link.js';
import { serviceMapNames, type ServiceMapName } from '../pins.js';
import type { BpfMap } from '../../native.js';

/** Attached always; `sal_wait` only while a service has no replica and its clients wait. */
const programs: ReadonlyArray<readonly [CgroupHook, program: string]> = [
  // What is sent under another name must be heard under that name: the way back comes first.
  ['getpeername4', 'sal_getpeername4'],
  ['getpeername6', 'sal_getpeername6'],
  ['recvmsg4', 'sal_recvmsg4'],
  ['recvmsg6', 'sal_recvmsg6'],
  ['sockops', 'sal_handshake'],
  ['sendmsg4', 'sal_sendmsg4'],
  ['sendmsg6', 'sal_sendmsg6'],
  ['connect4', 'sal_connect4'],
  ['connect6', 'sal_connect6'],
];

export type ServiceMaps = Record<ServiceMapName | 'sal_drops', BpfMap>;

export interface ConnectOptions {
  pinRoot: string;
  objectPath: string;
  maps: ServiceMaps;
  /** cgroup v2 folder; the root for a whole node */
  cgroup: string;
  /** resolve for whatever is in the cgroup, in whichever network namespace */
  everyClient: boolean;
}

export class ConnectPrograms {
  private constructor(
    private readonly folder: string,
    private readonly cgroup: string,
    private readonly waiter: BpfProgram,
  ) {}

  /** @throws ServalError ERR_BAD_OBJECT, ERR_NO_PERMISSION, ERR_KERNEL */
  static async install(options: ConnectOptions): Promise<ConnectPrograms> {
    const folder = join(options.pinRoot, 'connect');
    mkdirSync(folder, { recursive: true });
    return explained(options.objectPath, async () => {
      const hz = await jiffiesPerSecond(options);
      const object = await load(options, { hz, setRetval: true }).catch(() =>
        load(options, { hz, setRetval: false }),
      );
      try {
        for (const [hook, name] of programs) {
          const program = object.program(name);
          attach(folder, options.cgroup, hook, program);
          program.close();
        }
        const installed = new ConnectPrograms(folder, options.cgroup, object.program('sal_wait'));
        if (installed.holdsBack) installed.holdBack(true);
        return installed;
      } finally {
        object.close();
      }
    });
  }

  get holdsBack(): boolean {
    return existsSync(join(this.folder, 'egress'));
  }

  /** Keep back what sockets send that wait for a replica, or no more. */
  holdBack(on: boolean): void {
    if (on) attach(this.folder, this.cgroup, 'egress', this.waiter);
    else detachLink(join(this.folder, 'egress'));
  }

  close(): void {
    this.waiter.close();
  }
}

/** Detach everything. For hosts that leave the service table for good, and for tests. */
export function uninstallConnect(pinRoot: string): void {
  const folder = join(pinRoot, 'connect');
  for (const [hook] of [...programs].reverse()) detachLink(join(folder, hook));
  detachLink(join(folder, 'egress'));
  rmSync(folder, { recursive: true, force: true });
}

function attach(folder: string, cgroup: string, hook: CgroupHook, program: BpfProgram): void {
  const pin = join(folder, hook);
  if (existsSync(pin)) return updateLink(pin, program);
  const link = native().attachCgroup(cgroup, hook, program);
  try {
    link.pin(pin);
  } finally {
    link.close();
  }
}

async function load(
  { objectPath, maps, everyClient }: ConnectOptions,
  { hz, setRetval }: { hz: number; setRetval: boolean },
): Promise<BpfObject> {
  const object = native().openObject(objectPath);
  try {
    const config = Buffer.alloc(salConnectConfig.size);
    salConnectConfig.write(config, 0, { everyClient: everyClient ? 1 : 0, setRetval: setRetval ? 1 : 0, hz });
    object.setVariable('connect_config', config);
    for (const name of serviceMapNames) object.reuseMap(name, maps[name]);
    object.reuseMap('sal_drops', maps.sal_drops);
    object.setAutoload('sal_jiffies', false);
    await object.load();
    return object;
  } catch (error) {
    object.close();
    throw error;
  }
}

const usualHz = [100, 250, 300, 1000];
const measureMs = 100;

/** HZ is the kernel's own secret: count its jiffies for a moment. */
async function jiffiesPerSecond({ objectPath, maps }: ConnectOptions): Promise<number> {
  const object = native().openObject(objectPath);
  try {
    for (const name of serviceMapNames) object.reuseMap(name, maps[name]);
    object.reuseMap('sal_drops', maps.sal_drops);
    for (const name of object.programNames()) object.setAutoload(name, name === 'sal_jiffies');
    await object.load();
    const program = object.program('sal_jiffies');
    const read = (): number => program.run({ data: Buffer.alloc(64) }).verdict >>> 0;
    const [before, start] = [read(), performance.now()];
    await delay(measureMs);
    const measured = (((read() - before) >>> 0) * 1000) / (performance.now() - start);
    program.close();
    return usualHz.reduce((best, hz) => (Math.abs(hz - measured) < Math.abs(best - measured) ? hz : best));
  } finally {
    object.close();
  }
}
