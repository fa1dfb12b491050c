/** What can be done on this node, and why something can not. */
import type { ServalNodeStatus } from '@serval/api';
import type { Logger } from '@serval/kube-runtime';
import { moverReady } from '../movers/criu-ready.js';
import type { AgentConfig } from './config.js';

export type Capability = NonNullable<ServalNodeStatus['capabilities']>[number];

export class Capabilities {
  private criu: Capability = { name: 'criu', available: false, message: 'it is being looked at' };
  private readonly listeners: Array<() => void> = [];

  /** CRIU is looked at beside what an agent has to do at its start. */
  constructor(
    private readonly config: AgentConfig,
    log: Logger,
  ) {
    moverReady(config.criu)
      .then(() => this.found({ name: 'criu', ...this.usable() }))
      .catch((error: unknown) => {
        log.warn({ err: error }, 'CRIU does not work here: this node can be a peer, and use other movers');
        this.found({ name: 'criu', available: false, message: (error as Error).message.slice(0, 4096) });
      });
  }

  list(): Capability[] {
    const { sandbox, kubernetes } = this.config;
    const makesPods = sandbox !== undefined || kubernetes !== undefined;
    return [
      { name: 'datapath', available: true },
      { name: 'services', available: true },
      this.criu,
      makesPods
        ? { name: 'sandbox', available: true }
        : {
            name: 'sandbox',
            available: false,
            message: 'no sandbox command is configured: nothing can move here',
          },
    ];
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  private usable(): Pick<Capability, 'available' | 'message'> {
    const { proc = '/proc' } = this.config.kubernetes ?? {};
    if (proc === '/proc') return { available: true };
    return {
      available: false,
      message: 'the agent is not in the pid namespace of its machine: set agent.criu.enabled in the chart',
    };
  }

  private found(criu: Capability): void {
    this.criu = criu;
    for (const listener of this.listeners) listener();
  }
}
