/** An API server that says what the test wants, also what a real one says only in trouble. Never stands for a real one. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';
import { KubeClient } from './client.js';
import type { KubeObject } from './reflector.js';

type Answer = (response: ServerResponse, url: URL) => void;

export class FakeApi {
  /** of each request since the start: `list`, or `watch VERSION` */
  readonly asked: string[] = [];
  /** of the same requests, on the clock of `performance` */
  readonly times: number[] = [];
  private readonly open = new Set<ServerResponse>();

  private constructor(
    private readonly server: Server,
    readonly client: KubeClient,
    private readonly answers: { list: Answer; watch: Answer },
  ) {}

  static async start(list: Answer, watch: Answer): Promise<FakeApi> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const config = new KubeConfig();
    const cluster = { name: 'fake', server: `http://127.0.0.1:${port}`, skipTLSVerify: true };
    config.loadFromClusterAndUser(cluster, { name: 'nobody' });
    const api = new FakeApi(server, new KubeClient(config, 'test'), { list, watch });
    server.on('request', (request, response) => api.take(request, response));
    return api;
  }

  async stop(): Promise<void> {
    await this.client.close();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Ends all watches: with a word, or by cutting the connection. */
  endWatches(how: 'cleanly' | 'abruptly'): void {
    for (const response of this.open)
      if (how === 'cleanly') response.end();
      else response.destroy();
    this.open.clear();
  }

  private take({ url = '/' }: IncomingMessage, response: ServerResponse): void {
    const asked = new URL(url, 'http://fake');
    const isWatch = asked.searchParams.get('watch') === 'true';
    this.asked.push(isWatch ? `watch ${asked.searchParams.get('resourceVersion')}` : 'list');
    this.times.push(performance.now());
    if (isWatch) this.open.add(response);
    (isWatch ? this.answers.watch : this.answers.list)(response, asked);
  }
}

export function object(name: string, version: number, uid = `uid-${name}`): KubeObject {
  return { metadata: { name, uid, resourceVersion: String(version) } };
}

/** @param next where there is more to list */
export function page(response: ServerResponse, version: number, items: KubeObject[], next?: string): void {
  const metadata = { resourceVersion: String(version), ...(next === undefined ? {} : { continue: next }) };
  response.end(JSON.stringify({ metadata, items }));
}

export function event(response: ServerResponse, type: string, content: object): void {
  response.write(`${JSON.stringify({ type, object: content })}\n`);
}
