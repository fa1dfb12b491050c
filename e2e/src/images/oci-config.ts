/** A container as runc wants it described, from an image and from what the chart says: as containerd would write it. */
import type { Image } from './built.js';
import { allowedHere, type ContainerSpec } from './pod-spec.js';

/** In place of a volume: a folder of the host, or a file system of its own. */
export type Volume = { folder: string } | { type: 'tmpfs' | 'bpf' };

export interface Start {
  /** in place of the image's; what the image starts is then not started */
  entrypoint?: string[];
  args: string[];
  env?: Record<string, string>;
  /** by the names that the chart's volumes have */
  volumes?: Record<string, Volume>;
  /** beside those, by their paths */
  folders?: Record<string, string>;
  /** `own`: nothing but loopback */
  network: 'host' | 'own';
}

interface Mount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

const mount = (destination: string, type: string, ...options: string[]): Mount => ({
  destination,
  type,
  source: type,
  options,
});
const hidden = ['nosuid', 'noexec', 'nodev'];
const always: Mount[] = [
  mount('/proc', 'proc', ...hidden),
  mount('/dev', 'tmpfs', 'nosuid', 'strictatime', 'mode=755', 'size=65536k'),
  mount('/dev/pts', 'devpts', 'nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'),
  mount('/dev/shm', 'tmpfs', ...hidden, 'mode=1777', 'size=65536k'),
  mount('/sys', 'sysfs', ...hidden, 'ro'),
];
const masked = ['acpi', 'kcore', 'keys', 'latency_stats', 'timer_list', 'timer_stats', 'sched_debug', 'scsi'];
const readOnly = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'];

/** @param root the folder of its own that its files are in */
export function ociConfig(image: Image, spec: ContainerSpec, start: Start, root: string): object {
  const capabilities = allowedHere(spec.capabilities);
  const kinds = ['mount', 'ipc', 'uts', ...(spec.hostPid ? [] : ['pid'])];
  if (start.network === 'own') kinds.push('network');
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: spec.user,
      args: [...(start.entrypoint ?? image.config.Entrypoint), ...start.args],
      env: [
        ...image.config.Env,
        ...Object.entries(start.env ?? {}).map(([name, value]) => `${name}=${value}`),
      ],
      cwd: '/',
      // None is ambient: who is not root has none.
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: !spec.mayEscalate,
    },
    root: { path: root, readonly: spec.readOnly },
    mounts: [...always, ...volumes(spec, start), ...folders(start)],
    linux: {
      namespaces: kinds.map((type) => ({ type })),
      maskedPaths: [...masked.map((name) => `/proc/${name}`), '/sys/firmware'],
      readonlyPaths: readOnly.map((name) => `/proc/${name}`),
      // The devices that every container has are let through by runc itself.
      resources: { devices: [{ allow: false, access: 'rwm' }] },
    },
  };
}

function volumes(spec: ContainerSpec, { volumes: given = {} }: Start): Mount[] {
  return spec.mounts.map(({ name, path, readOnly }) => {
    const volume = given[name];
    if (volume === undefined) throw new Error(`nobody says what is at ${path}: the chart's volume ${name}`);
    if (!('folder' in volume)) return mount(path, volume.type);
    return bind(volume.folder, path, readOnly);
  });
}

function folders({ folders: given = {} }: Start): Mount[] {
  return Object.entries(given).map(([path, folder]) => bind(folder, path, false));
}

function bind(source: string, destination: string, isReadOnly: boolean): Mount {
  return {
    destination,
    type: 'bind',
    source,
    options: ['rbind', 'rslave', ...(isReadOnly ? ['ro'] : [])],
  };
}
