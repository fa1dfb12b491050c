/**
 * Makes the pods that wait for a workload. Agents start a command for it (sandbox-hook.ts), as they would on plain hosts;
 * the command asks here, since only the process that owns the lab may make pods in it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { Sandbox } from '@serval/node-agent';
import type { Lab, Pod } from '../lab/index.js';

interface Made {
  pod: Pod;
  cgroup: string;
}

export class Sandboxes {
  private readonly byMigration = new Map<string, Made>();
  private readonly byNetns = new Map<string, Pod>();
  private count = 0;

  private constructor(
    private readonly lab: Lab,
    readonly socket: string,
    private readonly server: Server,
  ) {}

  static async serve(lab: Lab, socket: string): Promise<Sandboxes> {
    const server = createServer();
    const sandboxes = new Sandboxes(lab, socket, server);
    server.on('request', (request, response) => void sandboxes.answer(request, response));
    server.listen(socket);
    await once(server, 'listening');
    return sandboxes;
  }

  /** A pod that was made by hand and may be removed by an agent. */
  adopt(pod: Pod): void {
    this.byNetns.set(pod.netns, pod);
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      let text = '';
      for await (const chunk of request.setEncoding('utf8')) text += chunk as string;
      const [, action, host = ''] = (request.url ?? '').split('/');
      const input = JSON.parse(text) as { migration?: string; netns?: string };
      const result =
        action === 'create'
          ? await this.create(host, input.migration ?? '')
          : await this.remove(input.netns ?? '');
      response.end(JSON.stringify(result));
    } catch (error) {
      response.writeHead(500).end((error as Error).message);
    }
  }

  private async create(host: string, migration: string): Promise<Sandbox> {
    let made = this.byMigration.get(migration);
    if (made === undefined) {
      const name = `moved-${++this.count}`;
      const pod = await this.lab.createPod({ name, host });
      made = { pod, cgroup: this.lab.cgroup(name) };
      this.byMigration.set(migration, made);
      this.byNetns.set(pod.netns, pod);
    }
    const { pod, cgroup } = made;
    return {
      netns: pod.netns,
      interfaces: [pod.interface],
      addresses: { ipv4: pod.address4, ipv6: pod.address6 },
      pausePid: pod.pausePid,
      cgroup,
    };
  }

  private async remove(netns: string): Promise<object> {
    const pod = this.byNetns.get(netns);
    this.byNetns.delete(netns);
    await pod?.remove();
    return {};
  }
}
