import type { HostPlan, LabPlan, PodAddresses } from './address-plan.js';
import type { Assignment } from './state.js';

/** The addresses that routers and hosts have from the start; `now` in CLOCK_REALTIME milliseconds. */
export function infrastructureAssignments(plan: LabPlan, now: number): Assignment[] {
  const of = (kind: Assignment['kind'], owner: string, addresses: readonly string[]) =>
    addresses.map((address) => assignment(address, kind, owner, kind === 'host' ? owner : null, now));
  return plan.sites.flatMap((site) => [
    ...of('router', plan.core, [site.link.upper4, site.link.upper6]),
    ...of('router', site.router, [site.link.lower4, site.link.lower6]),
    ...site.hosts.flatMap((host) => [
      ...of('router', site.router, [host.link.upper4, host.link.upper6]),
      ...of('host', host.name, [host.link.lower4, host.link.lower6, host.gateway4, host.gateway6]),
    ]),
  ]);
}

/** The addresses of a pod, from `now` on. */
export function podAssignments(
  pod: string,
  host: HostPlan,
  addresses: PodAddresses,
  now: number,
): Assignment[] {
  return [addresses.address4, addresses.address6].map((address) =>
    assignment(address, 'pod', pod, host.name, now),
  );
}

/** Ends whatever a pod has. */
export function endAssignments(assignments: readonly Assignment[], pod: string, now: number): void {
  for (const entry of assignments) {
    if (entry.kind === 'pod' && entry.owner === pod && entry.to === null) entry.to = now;
  }
}

/** Whether somebody had the address at that time, behind that host when one is given. */
export function isAssigned(
  assignments: readonly Assignment[],
  address: string,
  time: number,
  host?: string,
): boolean {
  return assignments.some(
    (entry) =>
      entry.address === address &&
      entry.from <= time &&
      (entry.to === null || time <= entry.to) &&
      (host === undefined || entry.host === host),
  );
}

function assignment(
  address: string,
  kind: Assignment['kind'],
  owner: string,
  host: string | null,
  from: number,
): Assignment {
  return { address, kind, owner, host, from, to: null };
}
