/** One agent: a process of its own in its host's network namespace, with its folders, as `servald --config` runs it. */
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  readdirSync,
  writeFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ChildProcess } from 'node:child_process';
import {
  ServalError,
  type MigrationRequest,
  type PodView,
  type ServalMigration,
  type ServalPodSpec,
  type StatusView,
  apiVersion,
} from '@serval/api';
import type { Host } from '../lab/index.js';
import { ask } from './local-api.js';

export const servald = new URL('../../../node-agent/dist/agent/main.js', import.meta.url).pathname;
const startMs = 20_000;
const stopMs = 10_000;

export interface Name {
  name: string;
  namespace?: string;
}

export interface AgentFolders {
  /** everything else that lasts: configuration, resources, log */
  home: string;
  /** what the agent has written down of its moves */
  state: string;
  bpffs: string;
  /** tmpfs that the pods see at the same path */
  images: string;
}

/** On a lab's host, or on anything else that has a name and can start programs. */
export class AgentProcess<On extends Pick<Host, 'name' | 'spawn'> = Host> {
  readonly socket: string;
  readonly directory: string;
  readonly log: string;
  #child: ChildProcess | undefined;

  constructor(
    readonly host: On,
    readonly folders: AgentFolders,
    private readonly config: Record<string, unknown>,
    private readonly env: NodeJS.ProcessEnv,
  ) {
    this.socket = join(folders.home, 'agent.sock');
    this.directory = join(folders.home, 'resources');
    this.log = join(folders.home, 'agent.log');
    mkdirSync(this.directory, { recursive: true });
    this.configure({});
  }

  /** Puts this into its configuration in place of what was put in last; it is read at the next start. */
  configure(more: Record<string, unknown>): void {
    const { home, state, bpffs, images } = this.folders;
    const own = {
      node: this.host.name,
      directory: this.directory,
      stateDir: state,
      bpffs,
      imagesDir: images,
      socket: this.socket,
    };
    this.write(join(home, 'config.yaml'), { ...own, ...this.config, ...more });
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when it says that it is ready. */
  async start(patienceMs = startMs): Promise<void> {
    const log = openSync(this.log, 'a');
    const child = this.host.spawn(
      process.execPath,
      [servald, '--config', join(this.folders.home, 'config.yaml')],
      { stdio: ['ignore', log, log], env: { ...process.env, ...this.env } },
    );
    closeSync(log);
    this.#child = child;
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const status = await this.status().catch(() => undefined);
      if (status?.ready) return;
      if (child.exitCode !== null || performance.now() > deadline)
        throw new ServalError('ERR_NOT_FOUND', {
          subject: `agent of ${this.host.name}`,
          reason: `it is not ready: ${status?.checks.map(({ reason }) => reason ?? '').join(' ') ?? this.lastWords()}`,
          remedy: `Read ${this.log}`,
        });
      await delay(20);
    }
  }

  /** Ends it without a word. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** Asks it to end, as a service manager does. */
  async stop(): Promise<void> {
    await this.end('SIGTERM');
  }

  status(): Promise<StatusView> {
    return ask(this.socket, 'GET', '/v1/status');
  }

  migrate(request: MigrationRequest): Promise<ServalMigration> {
    return ask(this.socket, 'POST', '/v1/migrations', request);
  }

  migration(name: string): Promise<ServalMigration> {
    return ask(this.socket, 'GET', `/v1/migrations/${name}`);
  }

  /** Resolves when it has ended, one way or the other. */
  async ended(name: string, timeoutMs = 60_000): Promise<ServalMigration> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const migration = await this.migration(name).catch(() => undefined);
      if (migration?.status?.finishedAt !== undefined) return migration;
      if (performance.now() > deadline)
        throw new ServalError('ERR_NOT_FOUND', {
          subject: `migration ${name}`,
          reason: `it has not ended after ${timeoutMs} ms; it is in phase ${migration?.status?.phase ?? 'unknown'}`,
          remedy: `Read ${this.log}`,
        });
      await delay(20);
    }
  }

  /** Declares a resource to this agent, as an administrator would: by a file. */
  declare(kind: string, metadata: Name, spec: object): void {
    this.write(this.fileOf(kind, metadata), { apiVersion, kind, metadata, spec });
  }

  /** The same of one that has no `spec`. */
  declareWhole(object: { kind: string; metadata: Name }): void {
    this.write(this.fileOf(object.kind, object.metadata), object);
  }

  undeclare(kind: string, metadata: Name): void {
    rmSync(this.fileOf(kind, metadata), { force: true });
  }

  /** Takes back all that was declared of a kind; resolves when the agent has forgotten it. */
  async undeclareAll(kind: 'ServalPod'): Promise<void> {
    for (const file of readdirSync(this.directory))
      if (file.toLowerCase().startsWith(kind.toLowerCase())) rmSync(join(this.directory, file));
    const deadline = performance.now() + startMs;
    while ((await this.pods()).length > 0) {
      if (performance.now() > deadline)
        throw new ServalError('ERR_NOT_FOUND', {
          subject: `agent of ${this.host.name}`,
          reason: 'it does not forget its pods',
          remedy: `Read ${this.log}`,
        });
      await delay(5);
    }
  }

  /** Resolves when the agent knows the pod. */
  async declarePod(name: string, spec: Omit<ServalPodSpec, 'node'>): Promise<void> {
    const [namespace = '', short = ''] = name.split('/');
    this.declare('ServalPod', { name: short, namespace }, { node: this.host.name, ...spec });
    const deadline = performance.now() + startMs;
    while (!(await this.pods()).some((pod) => pod.name === name)) {
      if (performance.now() > deadline)
        throw new ServalError('ERR_NOT_FOUND', {
          subject: `pod ${name}`,
          reason: `the agent of ${this.host.name} does not take it`,
          remedy: `Read ${this.log}`,
        });
      await delay(5);
    }
  }

  pods(): Promise<PodView[]> {
    return ask(this.socket, 'GET', '/v1/pods');
  }

  lastWords(lines = 5): string {
    return existsSync(this.log)
      ? readFileSync(this.log, 'utf8').trim().split('\n').slice(-lines).join('\n')
      : '';
  }

  private fileOf(kind: string, { namespace, name }: Name): string {
    const file = [kind.toLowerCase(), namespace, name].filter(Boolean).join('_');
    return join(this.directory, `${file}.yaml`);
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), stopMs);
    await ended;
    clearTimeout(late);
    if (signal === 'SIGKILL') rmSync(this.socket, { force: true });
  }

  /** JSON is YAML. Written beside and renamed, so that nobody reads half of it. */
  private write(path: string, value: unknown): void {
    writeFileSync(`${path}.new`, JSON.stringify(value, null, 2));
    renameSync(`${path}.new`, path);
  }
}
