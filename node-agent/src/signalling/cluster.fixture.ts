/** A small cluster for tests: one authority, nodes with certificates, servers and clients on the loopback. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Endpoint } from '../datapath/types.js';
import type { NodeName } from '../protocol/messages.js';
import { issueNode, makeAuthority } from './certificates.js';
import { SignallingClient, type ClientOptions } from './client.js';
import { Credentials } from './credentials.js';
import type { AnyMessage, AnyReply } from './kinds.js';
import { SignallingServer, type ServerOptions } from './server.js';

export interface Heard {
  from: NodeName;
  message: AnyMessage;
}

export class Cluster {
  readonly heard: Heard[] = [];
  /** what servers answer; may be replaced */
  reply: (from: NodeName, message: AnyMessage) => Promise<AnyReply> = () => Promise.resolve({ ok: true });
  private readonly ends: Array<() => unknown> = [];

  private constructor(readonly dir: string) {}

  static async make(): Promise<Cluster> {
    // In memory where that can be: certificates are written through to the disk, which other tests keep busy.
    const memory = '/dev/shm';
    const cluster = new Cluster(
      mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), 'serval-signalling-')),
    );
    await makeAuthority(cluster.dir);
    return cluster;
  }

  files(node: NodeName, dir = this.dir) {
    return { ca: join(dir, 'ca.crt'), cert: join(dir, `${node}.crt`), key: join(dir, `${node}.key`) };
  }

  /** With a certificate of its own, which is made where there is none yet. */
  async credentials(node: NodeName): Promise<Credentials> {
    await issueNode(this.dir, node, { replace: true });
    const credentials = Credentials.load(this.files(node));
    this.ends.push(() => credentials.close());
    return credentials;
  }

  async server(
    node: NodeName,
    options: Partial<ServerOptions> = {},
  ): Promise<{ server: SignallingServer; address: Endpoint; credentials: Credentials }> {
    const credentials = options.credentials ?? (await this.credentials(node));
    const server = new SignallingServer({
      onMessage: (from, message) => {
        this.heard.push({ from, message });
        return this.reply(from, message);
      },
      ...options,
      credentials,
    });
    this.ends.push(() => server.close({ graceMs: 0 }));
    return { server, address: await server.listen({ address: '127.0.0.1', port: 0 }), credentials };
  }

  async client(node: NodeName, options: Partial<ClientOptions> = {}): Promise<SignallingClient> {
    const credentials = options.credentials ?? (await this.credentials(node));
    const client = new SignallingClient({ ...options, credentials });
    this.ends.push(() => client.close());
    return client;
  }

  async end(): Promise<void> {
    for (const end of this.ends.reverse()) await end();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Waits for a condition. */
export async function until(what: string, condition: () => boolean, withinMs = 10_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
