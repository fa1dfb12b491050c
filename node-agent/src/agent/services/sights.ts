/** What this node's sockets have seen of replicas, as the kernel counted it; read now and then, all at once. */
import { serviceKey } from '../../datapath/services/encode.js';
import type { EbpfServices } from '../../datapath/services/index.js';
import type { Endpoint, Protocol } from '../../datapath/types.js';
import type { ReplicaSeen } from '../../services/types.js';

/** Older than this it is read again. */
const freshMs = 1_000;

export class Sights {
  private seen = new Map<string, ReplicaSeen>();
  private readAt = -Infinity;

  constructor(private readonly services: Pick<EbpfServices, 'seen'>) {}

  of({ address, port }: Endpoint, protocol: Protocol): ReplicaSeen | undefined {
    if (performance.now() - this.readAt > freshMs) this.refresh();
    return this.seen.get(serviceKey({ address, port, protocol }));
  }

  refresh(): void {
    this.readAt = performance.now();
    this.seen = new Map(
      this.services.seen().map((sight) => [
        serviceKey(sight),
        {
          rttUs: sight.rttUs,
          connections: Number(sight.connections),
          failures: Number(sight.failures),
        },
      ]),
    );
  }
}
