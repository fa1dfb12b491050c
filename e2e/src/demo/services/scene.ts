/** The second scene's world, in the lab and with the agents of the first: replicas, clients, and who listens to the wire. */
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError, type ServalMigration, type ServiceView } from '@serval/api';
import {
  startHold,
  startLoop,
  startMovableWho,
  type Attempt,
  type HoldClient,
  type LineClient,
} from '../../clients/index.js';
import { ask, LabService, type AgentProcess, type Fleet } from '../../fleet/index.js';
import { auditRecording, packetLine, type Lab, type Pod, type Recorder } from '../../lab/index.js';
import type { Movable } from '../../traffic/index.js';
import type { ClientRows, Recorded } from './tally.js';

const serviceName = 'demo/web';
const replicaPort = 8080;
const virtualIp = '10.96.0.80';
const virtualIp6 = 'fd96::80';
const families = 2;
const servicePort = 80;
/** connections that the clients of a site hold, in so many rounds */
const [heldInAll, rounds] = [300, 3];
/** how often a client asks on each that it holds, ms: those of one round at once, the rounds in turn, so that every moment is felt */
const askEveryMs = 600;
/** new connections a second of a loop */
const loopRate = 40;
const patienceMs = 5000;

export interface Replica {
  name: string;
  site: string;
  pod: Pod;
  process: Movable;
}

/** One pod with clients. */
class Client {
  private loop: LineClient<Attempt> | undefined;
  private readonly holds: HoldClient[] = [];

  constructor(readonly pod: Pod) {}

  /** Opens some more of the connections that it holds. */
  async hold(connections: number): Promise<void> {
    const client = startHold(this.pod, virtualIp, servicePort, { connections, everyMs: askEveryMs });
    this.holds.push(client);
    await client.opened(connections);
  }

  /** From now on it connects, asks and closes all the time. */
  start(): void {
    this.loop = startLoop(this.pod, virtualIp, servicePort, { rate: loopRate });
  }

  /** All that its programs have told. */
  get rows(): ClientRows {
    const held = this.holds.flatMap(({ rows }) => rows);
    return { site: this.pod.host.site, attempts: this.loop?.rows ?? [], held };
  }

  async stop(): Promise<void> {
    await Promise.all([this.loop?.stop(), ...this.holds.map((client) => client.stop())]);
  }
}

export class ServiceScene {
  private constructor(
    private readonly lab: Lab,
    private readonly fleet: Fleet,
    readonly replicas: readonly Replica[],
    private readonly clients: readonly Client[],
    /** those that come later, in the first site */
    private readonly late: Client,
    private readonly recorders: { fabric: Recorder; clients: Recorder },
  ) {}

  /** Two replicas on each host and a pod for its clients; when this resolves everything is there, and nobody has connected. */
  static async build(lab: Lab, fleet: Fleet): Promise<ServiceScene> {
    const newClient = async (name: string, host: string): Promise<Client> => {
      const pod = await lab.createPod({ name, host });
      await fleet.declare(pod, `demo/${name}`);
      return new Client(pod);
    };
    const newReplica = async (number: number, host: string): Promise<Replica> => {
      const name = `web-${number}`;
      const pod = await lab.createPod({ name, host });
      const process = await startMovableWho(lab, pod, replicaPort);
      await fleet.declare(pod, `demo/${name}`, { process });
      return { name, site: pod.host.site, pod, process };
    };
    const hosts = lab.hosts.map(({ name }) => name);
    const replicas = await Promise.all(
      hosts.flatMap((host, i) => [newReplica(2 * i + 1, host), newReplica(2 * i + 2, host)]),
    );
    const clients = await Promise.all(hosts.map((host) => newClient(`shop-${host}`, host)));
    const late = await newClient(`late-${hosts[0]}`, hosts[0] ?? '');
    const all = [...clients, late];
    await serve(fleet, replicas);
    const recorders = {
      fabric: await lab.recordFabric(),
      clients: await lab.record(
        all.map(({ pod }) => ({ at: pod, interface: pod.interface, direction: 'out' as const })),
        // Openings only: of what follows there is too much, and it has the same addresses.
        { filter: `tcp[tcpflags] & tcp-syn != 0 or host ${virtualIp} or host ${virtualIp6}` },
      ),
    };
    return new ServiceScene(lab, fleet, replicas, clients, late, recorders);
  }

  get rows(): ClientRows[] {
    return [...this.clients, this.late].map(({ rows }) => rows);
  }

  replica(name: string): Replica {
    const found = this.replicas.find((each) => each.name === name);
    if (found !== undefined) return found;
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `replica ${name}`,
      reason: 'the scene has no such replica',
      remedy: `Name one of ${this.replicas.map((each) => each.name).join(', ')}`,
    });
  }

  /**
   * The clients of each site, all alike, and all within the first second: until then no agent follows the service's load, which
   * would not be even in the meantime.
   */
  async startEven(): Promise<void> {
    await inRounds(() => Promise.all(this.clients.map((client) => client.hold(heldInAll / rounds))));
    for (const client of this.clients) client.start();
  }

  /** As many again in the first site. */
  async crowd(): Promise<void> {
    this.late.start();
    await inRounds(() => this.late.hold(heldInAll / rounds));
  }

  /**
   * A replica crashes as with its machine: nobody says goodbye, neither the process nor its kernel. (Where the process alone ends,
   * its kernel refuses whoever connects in the 40 ms or so before the other nodes know.) Resolves when it is gone.
   */
  async crash({ name, pod, process: { pid } }: Replica): Promise<{ at: number; goneAt: number }> {
    const at = Date.now();
    await pod.run('ip', ['link', 'set', pod.interface, 'down']);
    process.kill(pid, 'SIGKILL');
    while (existsSync(`/proc/${pid}`)) {
      if (Date.now() > at + patienceMs)
        throw new ServalError('ERR_KERNEL', {
          subject: `process ${pid} of replica ${name}`,
          reason: 'it was killed, and is still there',
          remedy: 'See the kernel log: dmesg',
        });
      await delay(1);
    }
    return { at, goneAt: Date.now() };
  }

  /** By the agents. @throws ServalError where it was rolled back */
  move({ name, pod }: Replica, to: string): Promise<ServalMigration> {
    return this.fleet.move(`demo/${name}`, pod.host.name, to);
  }

  /** Ends the clients in order; what they told stays. */
  async stopClients(): Promise<void> {
    await Promise.all([...this.clients, this.late].map((client) => client.stop()));
  }

  /** What was on the wire. Nobody listens any more then. */
  async recorded(): Promise<Recorded> {
    const [fabric, clients] = await Promise.all([
      this.recorders.fabric.stop(),
      this.recorders.clients.stop(),
    ]);
    const objections = [fabric, clients].flatMap((each) => auditRecording(each, this.lab.assignments));
    const named = [...fabric.packets, ...clients.packets].filter((packet) =>
      [packet.source, packet.destination].some((address) => address === virtualIp || address === virtualIp6),
    );
    return {
      openings: clients.packets.length,
      virtualIp: named.length,
      packets: fabric.packets.length,
      violations: objections.map(({ kind, reason, packet }) =>
        [kind, reason, packet === undefined ? '' : packetLine(packet)].join(' '),
      ),
    };
  }
}

/**
 * Declares the service; resolves when every agent has it. Nobody connects for that: of a service in use the load is followed,
 * and while the first connections are made it is not even.
 */
async function serve(fleet: Fleet, replicas: readonly Replica[]): Promise<void> {
  const service = new LabService(
    fleet,
    serviceName,
    {
      virtualIPs: [virtualIp, virtualIp6],
      ports: [{ name: 'http', port: servicePort, protocol: 'TCP' }],
    },
    replicaPort,
  );
  service.set(replicas.map(({ pod }) => ({ pod })));
  await Promise.all([...fleet.agents.values()].map((agent) => served(agent, replicas.length)));
}

async function served(agent: AgentProcess, replicas: number): Promise<void> {
  const path = `/v1/services?name=${encodeURIComponent(serviceName)}`;
  const isServed = (views: readonly ServiceView[]): boolean =>
    views[0]?.ports.length === families && views[0].ports.every((port) => port.replicas.length === replicas);
  for (const end = performance.now() + patienceMs; performance.now() < end; await delay(20)) {
    const views = await ask<ServiceView[]>(agent.socket, 'GET', path).catch(() => []);
    if (isServed(views)) return;
  }
  throw new ServalError('ERR_NOT_FOUND', {
    subject: `service ${serviceName}`,
    reason: `the agent of ${agent.host.name} does not serve it with ${replicas} replicas`,
    remedy: `Read ${agent.log}`,
  });
}

async function inRounds(work: () => Promise<unknown>): Promise<void> {
  for (let round = 0; round < rounds; round++)
    await Promise.all([work(), delay(round + 1 < rounds ? askEveryMs / rounds : 0)]);
}
