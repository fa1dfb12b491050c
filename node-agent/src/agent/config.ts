/** The agent's configuration: a YAML file, checked whole before anything is begun. */
import { readFile } from 'node:fs/promises';
import { ServalError } from '@serval/api';
import { compile, logLevels, type LogLevel } from '@serval/kube-runtime';
import { parseDocument, stringify } from 'yaml';
import { defaultDeadlines, type Deadlines } from '../protocol/deadlines.js';
import { messageKinds, type Chances } from '../signalling/index.js';
import { filesOfNode } from '../kubernetes/certificate-rules.js';
import type { SandboxCommands } from './sandbox.js';

export interface Kubernetes {
  /** absent: as kubectl finds one; in a pod its service account */
  kubeconfig?: string;
  /** this node's certificate is asked for, by CertificateSigningRequests */
  certificates?: {
    /** of the ConfigMap serval-ca */
    namespace: string;
    /** default: the operator's */
    signer?: string;
  };
  /** where the machine's own /proc is seen; elsewhere than at /proc its pids are of no use to this process: no pod moves by criu */
  proc: string;
}

export interface AgentConfig {
  /** name of this node's ServalNode */
  node: string;
  /** resources as YAML files; of no account where `kubernetes` is there */
  directory: string;
  /** resources as Kubernetes has them */
  kubernetes?: Kubernetes;
  /** what has to outlast the agent */
  stateDir: string;
  /** a mounted bpf file system, or where to mount one */
  bpffs: string;
  /** of the flow table, where it has to be made */
  slots: number;
  services: {
    /** processes of the host's own namespace are clients too */
    hostProcesses: boolean;
    /** everything in this cgroup v2 folder is a client, in whichever network namespace; default: this node's pods, and no others */
    cgroup?: string;
    /** room of the service table, where it has to be made: choices of replicas of all services, 4 bytes each */
    choices: number;
    /** and replicas, 32 bytes each */
    replicas: number;
  };
  signalling: { address: string; port: number };
  /** PEM files; read again when they change; absent where they are asked for */
  certificates?: { ca: string; cert: string; key: string };
  /** unix socket of the local API */
  socket: string;
  /** /metrics, /healthz and /readyz; port 0 is any that is free */
  metrics: { address: string; port: number };
  /** a tmpfs: images of workloads that are being moved */
  imagesDir: string;
  /** the program; by name it is looked for in PATH */
  criu: string;
  /** who makes a pod that waits for a workload, and takes one away; absent: nothing can move to this node */
  sandbox?: SandboxCommands;
  deadlines: Deadlines;
  logLevel: LogLevel;
  /** for tests only: what happens by chance to the requests that this agent makes, and to their replies */
  interference?: Chances & { seed: number };
}

const path = (fallback?: string): object => ({
  type: 'string',
  format: 'absolutePath',
  ...(fallback === undefined ? {} : { default: fallback }),
});
const port = (fallback: number, minimum: number): object => ({
  type: 'integer',
  minimum,
  maximum: 65535,
  default: fallback,
});
const chance = { type: 'number', minimum: 0, maximum: 1, default: 0 };
const command = { type: 'array', minItems: 1, items: { type: 'string', minLength: 1 } };

function section(properties: Record<string, object>, required: string[] = []): object {
  return {
    type: 'object',
    additionalProperties: false,
    properties,
    required,
    ...(required.length === 0 ? { default: {} } : {}),
  };
}

const deadlineFields = Object.fromEntries(
  Object.entries(defaultDeadlines).map(([name, ms]: [string, number]) => [
    name,
    { type: 'number', exclusiveMinimum: 0, maximum: 86_400_000, default: ms },
  ]),
);

const check = compile({
  type: 'object',
  additionalProperties: false,
  required: ['node'],
  properties: {
    node: { type: 'string', format: 'name' },
    directory: path('/etc/serval/resources'),
    kubernetes: {
      type: 'object',
      additionalProperties: false,
      properties: {
        kubeconfig: path(),
        proc: path('/proc'),
        certificates: section({ namespace: { type: 'string', format: 'name' }, signer: { type: 'string' } }, [
          'namespace',
        ]),
      },
    },
    stateDir: path('/var/lib/serval'),
    bpffs: path('/sys/fs/bpf'),
    slots: { type: 'integer', minimum: 64, maximum: 16_777_216, default: 131_072 },
    services: section({
      hostProcesses: { type: 'boolean', default: true },
      cgroup: path(),
      choices: { type: 'integer', minimum: 1024, maximum: 268_435_456, default: 4_194_304 },
      replicas: { type: 'integer', minimum: 64, maximum: 16_777_216, default: 524_288 },
    }),
    signalling: section({
      address: { type: 'string', format: 'address', default: '::' },
      port: port(7946, 1),
    }),
    certificates: section({ ca: path(), cert: path(), key: path() }, ['ca', 'cert', 'key']),
    socket: path('/run/serval/agent.sock'),
    metrics: section({
      address: { type: 'string', format: 'address', default: '127.0.0.1' },
      port: port(9464, 0),
    }),
    imagesDir: path('/run/serval/images'),
    criu: { type: 'string', minLength: 1, default: 'criu' },
    sandbox: section({ create: command, remove: command }, ['create', 'remove']),
    deadlines: section(deadlineFields),
    logLevel: { type: 'string', enum: logLevels, default: 'info' },
    interference: section(
      {
        seed: { type: 'integer', minimum: 0, maximum: 0xffff_ffff },
        lose: chance,
        duplicate: chance,
        delay: chance,
        delayMs: { type: 'number', minimum: 0, maximum: 60_000, default: 0 },
        kinds: { type: 'array', minItems: 1, items: { type: 'string', enum: messageKinds } },
      },
      ['seed'],
    ),
  },
});

/** Longest path that a unix socket may have. */
const socketPathBytes = 107;

/** What the command line says in place of the file. */
export interface ConfigOverrides {
  node?: string;
  kubernetes?: Partial<Kubernetes>;
  /** a folder with ca.crt, and NODE.crt and NODE.key of this node */
  certificates?: string;
}

/** @throws ServalError ERR_BAD_INPUT (all problems in one), ERR_NOT_FOUND, ERR_NO_PERMISSION */
export async function loadConfig(file: string, overrides: ConfigOverrides = {}): Promise<AgentConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new ServalError(code === 'ENOENT' ? 'ERR_NOT_FOUND' : 'ERR_NO_PERMISSION', {
      subject: file,
      reason: code === 'ENOENT' ? 'there is no such file' : message,
      remedy: 'Name a file that can be read; `servald --print-default-config` prints one to begin with',
      cause,
    });
  }
  return parseConfig(text, file, overrides);
}

/** @throws ServalError ERR_BAD_INPUT */
export function parseConfig(text: string, file: string, overrides: ConfigOverrides = {}): AgentConfig {
  const document = parseDocument(text);
  const syntax = document.errors[0];
  if (syntax !== undefined) throw bad(file, syntax.message.split('\n')[0] ?? '', 'Mend the YAML');
  const value = withOverrides((document.toJS() ?? {}) as AgentConfig, overrides);
  const problems = [...check(value)];
  if (problems.length === 0) problems.push(...relations(value));
  const [first, ...others] = problems;
  if (first === undefined) return value;
  const more = others.map(({ field, reason, remedy }) => `; ${field}: ${reason} (${remedy})`).join('');
  const subject = first.field === '' ? file : `${first.field} in ${file}`;
  throw bad(subject, first.reason, `${first.remedy}${more}`);
}

function withOverrides(value: AgentConfig, overrides: ConfigOverrides): AgentConfig {
  if (typeof value !== 'object') return value;
  const { node = value.node, certificates: folder, kubernetes } = overrides;
  return {
    ...value,
    ...(node === undefined ? {} : { node }),
    ...(folder === undefined ? {} : { certificates: filesOfNode(folder, node) }),
    ...(kubernetes === undefined ? {} : { kubernetes: { ...value.kubernetes, ...kubernetes } as Kubernetes }),
  };
}

/** What no schema tells. */
function relations(config: AgentConfig): Array<{ field: string; reason: string; remedy: string }> {
  const { holdingMs, frozenMs, peerHoldMs } = config.deadlines;
  const problems: Array<{ field: string; reason: string; remedy: string }> = [];
  if (peerHoldMs < holdingMs + frozenMs)
    problems.push({
      field: 'deadlines.peerHoldMs',
      reason: `${peerHoldMs} is less than holdingMs and frozenMs together (${holdingMs + frozenMs}): peers would send to a frozen pod`,
      remedy: 'Raise it, or lower the others',
    });
  if (config.certificates === undefined && config.kubernetes?.certificates === undefined)
    problems.push({
      field: 'certificates',
      reason: 'this node has no certificate, and nobody is to be asked for one',
      remedy:
        'Name ca, cert and key; or with --kubernetes give --certificate-namespace, and one is asked for',
    });
  if (Buffer.byteLength(config.socket) > socketPathBytes)
    problems.push({
      field: 'socket',
      reason: `the path of a unix socket has at most ${socketPathBytes} bytes`,
      remedy: 'Choose a shorter one',
    });
  return problems;
}

/** What a file has to say at least, with all defaults written out. */
export function defaultConfigText(): string {
  const value = {
    node: 'host-1',
    certificates: { ca: '/etc/serval/ca.crt', cert: '/etc/serval/host-1.crt', key: '/etc/serval/host-1.key' },
  };
  check(value);
  const comment =
    '# node and certificates have to be given, everything else is the default.\n' +
    '# sandbox: {create: [command, ...], remove: [command, ...]} makes pods for workloads that move here.\n';
  return `${comment}${stringify(value, { lineWidth: 110 })}`;
}

function bad(subject: string, reason: string, remedy: string): ServalError {
  return new ServalError('ERR_BAD_INPUT', { subject, reason, remedy });
}
