/** What kube-proxy watches: an API server with its etcd, on the far side, where all nodes can reach it. */
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { accountKeyOptions, etcdCommand, type Binaries } from '@serval/e2e';
import { inside, stop } from '../../shell.js';
import { Asked } from '../asked.js';
import { virtualRange, type Plan } from '../plan.js';
import type { Place, World } from '../world.js';
import type { Wish } from './objects.js';

/** The namespace is its own: these are nobody else's there. */
const etcdPorts = { client: 2379, peer: 2380 };
const objects = new URL('objects.js', import.meta.url).pathname;
const startSeconds = 60;

export class ControlPlane {
  /** services that it has */
  private made = 0;

  private constructor(
    private readonly world: World,
    readonly binaries: Binaries,
    private readonly folder: string,
    private readonly token: string,
    private readonly client: Asked,
  ) {}

  /** Resolves when the API server is ready. @throws ServalError */
  static async start(world: World, binaries: Binaries): Promise<ControlPlane> {
    const { workspace, far } = world;
    const folder = join(workspace.folder, 'kubernetes');
    const data = join(folder, 'etcd');
    mkdirSync(data, { recursive: true });
    const token = randomBytes(16).toString('hex');
    const store = startLogged(world, far, 'etcd', folder, etcdCommand(data, etcdPorts));
    const server = startLogged(world, far, 'kube-apiserver', folder, [
      join(binaries.folder, 'kube-apiserver'),
      ...apiServerOptions(folder, token),
    ]);
    const command = [process.execPath, objects, token];
    const client = await Asked.start(workspace, far, command, 'client of the API server');
    const control = new ControlPlane(world, binaries, folder, token, client);
    await control.wish({ ready: startSeconds }).catch((cause: unknown) => {
      const ended = [store, server].find(({ child }) => child.exitCode !== null) ?? server;
      throw new ServalError('ERR_TIMEOUT', {
        subject: ended.name,
        reason: `the API server does not get ready: ${ended.lastWords() || (cause as Error).message}`,
        remedy: 'Compare with rules of the same shape: --peers shape',
        cause,
      });
    });
    return control;
  }

  /** The API server has so many services, and has known them before. */
  async ensure({ services }: Plan): Promise<void> {
    if (services > this.made) await this.wish({ services: [this.made, services] });
    this.made = Math.max(services, this.made);
  }

  /** Resolves when the API server has taken it. */
  change({ replaced }: Plan): Promise<void> {
    return this.wish({ change: replaced === undefined ? {} : { replaced } });
  }

  /** Registers a node; returns a kubeconfig for what runs there. */
  async addNode(name: string, { nodeAddress, farAddress }: Place): Promise<string> {
    await this.wish({ node: { name, address: nodeAddress } });
    const file = join(this.folder, `${name}.kubeconfig`);
    const cluster = { server: `https://${farAddress}:6443`, 'insecure-skip-tls-verify': true };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'bench', cluster }],
      users: [{ name: 'bench', user: { token: this.token } }],
      contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'bench' } }],
      'current-context': 'bench',
    };
    writeFileSync(file, JSON.stringify(config));
    return file;
  }

  /** Starts a program in a namespace; its words go to a file. */
  start(netns: string, name: string, command: readonly string[]): Logged {
    return startLogged(this.world, netns, name, this.folder, command);
  }

  private async wish(wish: Wish): Promise<void> {
    const answer = await this.client.ask(JSON.stringify(wish));
    if (answer === 'ok') return;
    throw new ServalError('ERR_BAD_ANSWER', {
      subject: 'API server',
      reason: answer,
      remedy: 'Compare with rules of the same shape: --peers shape',
    });
  }
}

export interface Logged {
  name: string;
  child: ChildProcess;
  lastWords(): string;
  /** ends it, and what it has started */
  end(): Promise<void>;
}

function startLogged(
  { workspace }: World,
  netns: string,
  name: string,
  folder: string,
  command: readonly string[],
): Logged {
  const file = join(folder, `${name}.log`);
  const log = openSync(file, 'a');
  const [program = '', ...args] = inside(netns, command);
  // A group of its own: kube-proxy may be ended while it waits for an iptables-restore.
  const child = spawn(program, args, { stdio: ['ignore', log, log], detached: true });
  closeSync(log);
  const end = async (): Promise<void> => {
    if (child.pid !== undefined && isAlive(child.pid)) process.kill(-child.pid, 'SIGKILL');
    await stop(child);
  };
  workspace.atEnd(end);
  return {
    name,
    child,
    lastWords: () => readFileSync(file, 'utf8').trim().split('\n').slice(-3).join('; '),
    end,
  };
}

function isAlive(group: number): boolean {
  try {
    return process.kill(-group, 0);
  } catch {
    return false;
  }
}

function apiServerOptions(folder: string, token: string): string[] {
  const tokens = join(folder, 'tokens.csv');
  writeFileSync(tokens, `${token},bench,bench,system:masters\n`, { mode: 0o600 });
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPorts.client}`,
    '--secure-port=6443',
    // Only named in the API: the nodes have their own ways to it.
    '--advertise-address=10.81.0.1',
    '--endpoint-reconciler-type=none',
    `--cert-dir=${join(folder, 'certificates')}`,
    `--service-cluster-ip-range=${virtualRange}`,
    `--token-auth-file=${tokens}`,
    '--authorization-mode=AlwaysAllow',
    ...accountKeyOptions(folder).apiServer,
    // Objects come as fast as they can be written.
    '--enable-priority-and-fairness=false',
    '--max-mutating-requests-inflight=1000',
  ];
}
