import type { Host, Site } from './hosts.js';
import type { Pod } from './pods.js';

/** What a description needs to know of a lab. */
export interface Describable {
  id: string;
  sites: readonly Site[];
  pods: readonly Pod[];
}

/** The lab as a tree in plain ASCII. */
export function describeLab(lab: Describable): string {
  const branches = lab.sites.map((site) => siteBranch(site, lab.pods));
  return [`lab ${lab.id}`, 'core', ...tree(branches)].join('\n');
}

function siteBranch(site: Site, pods: readonly Pod[]): string[] {
  const { link } = site.plan;
  const heading = `${site.router.name}  ${link.lower4}  ${link.lower6}`;
  return [heading, ...tree(site.hosts.map((host) => hostBranch(host, pods)))];
}

function hostBranch(host: Host, pods: readonly Pod[]): string[] {
  const heading = `${host.name}  ${host.address4}  ${host.address6}  pods ${host.podSubnet4}  ${host.podSubnet6}`;
  const own = pods.filter((pod) => pod.host.name === host.name);
  return [heading, ...tree(own.map((pod) => [`${pod.name}  ${pod.address4}  ${pod.address6}`]))];
}

/** Hangs branches, each some lines, below a line that the caller writes. */
function tree(branches: readonly string[][]): string[] {
  return branches.flatMap((branch, index) => {
    const last = index === branches.length - 1;
    return branch.map((line, row) =>
      row === 0 ? `${last ? '`' : '|'}-- ${line}` : `${last ? ' ' : '|'}   ${line}`,
    );
  });
}
