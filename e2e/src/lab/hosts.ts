import type { HostPlan, SitePlan } from './address-plan.js';
import { namespaceName, namespacePath } from './namespaces.js';
import { NetworkNode } from './network-node.js';

/** The core, or a site's router. */
export class Router extends NetworkNode {
  constructor(labId: string, name: string) {
    const namespace = namespaceName(labId, name);
    super(name, namespace, namespacePath(namespace));
  }
}

/** A machine that has pods: uplink `eth0` to its site's router, bridge `cni0` with a pod subnet of its own. */
export class Host extends NetworkNode {
  readonly site: string;
  /** the uplink's addresses */
  readonly address4: string;
  readonly address6: string;
  readonly podSubnet4: string;
  readonly podSubnet6: string;

  constructor(
    labId: string,
    readonly plan: HostPlan,
  ) {
    const namespace = namespaceName(labId, plan.name);
    super(plan.name, namespace, namespacePath(namespace));
    this.site = plan.site;
    this.address4 = plan.link.lower4;
    this.address6 = plan.link.lower6;
    this.podSubnet4 = plan.podSubnet4;
    this.podSubnet6 = plan.podSubnet6;
  }
}

/** A site: a router with hosts, each in a subnet of its own. */
export class Site {
  readonly name: string;
  readonly router: Router;
  readonly hosts: readonly Host[];

  constructor(
    labId: string,
    readonly plan: SitePlan,
  ) {
    this.name = plan.name;
    this.router = new Router(labId, plan.router);
    this.hosts = plan.hosts.map((host) => new Host(labId, host));
  }
}
