/** What the chart says of a container: how a kubelet would have it started. */
import { readFileSync } from 'node:fs';
import { ServalError } from '@serval/api';
import { parse, parseAllDocuments } from 'yaml';
import { chart, type Helm } from '../cluster/helm.js';

interface SecurityContext {
  runAsUser?: number;
  runAsGroup?: number;
  privileged?: boolean;
  readOnlyRootFilesystem?: boolean;
  allowPrivilegeEscalation?: boolean;
  capabilities?: { add?: string[]; drop?: string[] };
}

interface Workload {
  kind: string;
  metadata: { name: string };
  data?: Record<string, string>;
  spec: {
    template: {
      spec: {
        hostPID?: boolean;
        securityContext?: SecurityContext;
        containers: Array<{
          args: string[];
          securityContext: SecurityContext;
          volumeMounts?: Array<{ name: string; mountPath: string; readOnly?: boolean }>;
        }>;
      };
    };
  };
}

export interface ContainerSpec {
  /** with $(NAME) where the kubelet puts a variable */
  args: string[];
  user: { uid: number; gid: number };
  hostPid: boolean;
  readOnly: boolean;
  mayEscalate: boolean;
  /** with the prefix that the kernel's list has: CAP_SYS_ADMIN */
  capabilities: string[];
  mounts: Array<{ name: string; path: string; readOnly: boolean }>;
}

export class RenderedChart {
  private constructor(private readonly workloads: Workload[]) {}

  /** @param values as `--set` takes them */
  static render(helm: Helm, folder: string, values: string): RenderedChart {
    const { code, out, error } = helm.ask(['template', 'serval', chart, '--set', values], folder);
    if (code !== 0) throw new Error(error);
    return new RenderedChart(parseAllDocuments(out).map((document) => document.toJS() as Workload));
  }

  /** What a ConfigMap of it has under this name, which is YAML. */
  config(name: string): Record<string, unknown> {
    const found = this.workloads.find(({ data }) => data?.[name] !== undefined)?.data?.[name];
    return parse(found ?? '') as Record<string, unknown>;
  }

  /** Of the one container that a Deployment's or a DaemonSet's pods have. */
  container(kind: 'Deployment' | 'DaemonSet'): ContainerSpec {
    const pod = this.workloads.find((one) => one?.kind === kind)?.spec.template.spec;
    const [container] = pod?.containers ?? [];
    if (pod === undefined || container === undefined)
      throw new ServalError('ERR_NOT_FOUND', {
        subject: kind,
        reason: 'the chart has none with these values',
        remedy: 'Set agent.enabled=true for the DaemonSet',
      });
    const volumes = container.volumeMounts ?? [];
    return {
      args: container.args,
      hostPid: pod.hostPID === true,
      ...rightsOf({ ...pod.securityContext, ...container.securityContext }),
      mounts: volumes.map(({ name, mountPath: path, readOnly = false }) => ({ name, path, readOnly })),
    };
  }
}

type Rights = Pick<ContainerSpec, 'user' | 'readOnly' | 'mayEscalate' | 'capabilities'>;

function rightsOf(security: SecurityContext): Rights {
  const { runAsUser: uid = 0, runAsGroup: gid = uid, capabilities: { add = [], drop = [] } = {} } = security;
  if (security.privileged === true || !drop.includes('ALL'))
    throw new Error('the chart gives a container capabilities that nobody names');
  return {
    user: { uid, gid },
    readOnly: security.readOnlyRootFilesystem === true,
    mayEscalate: security.allowPrivilegeEscalation !== false,
    capabilities: add.map((name) => `CAP_${name}`),
  };
}

/** Which of these this machine lets anybody have: what its bounding set lacks nothing that it starts can get. */
export function allowedHere(capabilities: readonly string[]): string[] {
  const bits = /^CapBnd:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const bounding = BigInt(`0x${bits}`);
  return capabilities.filter((name) => {
    const number = capabilityNumbers.indexOf(name.replace('CAP_', ''));
    return number < 0 || ((bounding >> BigInt(number)) & 1n) === 1n;
  });
}

/** As linux/capability.h numbers them. */
const capabilityNumbers = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST ' +
  'NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE ' +
  'SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM ' +
  'BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
).split(' ');
