/** Pure: what works on which node, by what its kubelet says of it. */
import type { Node, NodeInfo } from '../types.js';
import { someOf, type Finding } from './finding.js';

type Verdict = Omit<Finding, 'name'>;

/** What is judged, one after another. */
const aspects: ReadonlyArray<readonly [name: string, judge: (info: NodeInfo) => Verdict]> = [
  ['platform', platform],
  ['kernel', kernel],
  ['container runtime', runtime],
  ['cgroups', cgroups],
];

/** Nodes that are alike share a line. */
export function nodeFindings(nodes: readonly Node[]): Finding[] {
  return aspects.flatMap(([aspect, judge]) => {
    const groups = new Map<string, { verdict: Verdict; names: string[] }>();
    for (const { metadata, status } of nodes) {
      const verdict = status?.nodeInfo === undefined ? silent : judge(status.nodeInfo);
      const key = `${verdict.result} ${verdict.why}`;
      const group = groups.get(key) ?? { verdict, names: [] };
      group.names.push(metadata.name);
      groups.set(key, group);
    }
    return [...groups.values()].map(({ verdict, names }) => ({
      name: `${aspect} of ${someOf(names)}`,
      ...verdict,
    }));
  });
}

const silent: Verdict = {
  result: 'warn',
  why: 'its kubelet has not said anything of it yet',
  remedy: 'See whether the node is Ready, and look again',
};

function platform({ operatingSystem, architecture }: NodeInfo): Verdict {
  if (operatingSystem !== 'linux')
    return {
      result: 'warn',
      why: `${operatingSystem}: it gets no agent; its pods reach services by kube-proxy, and nothing moves to or from it`,
      remedy: 'Nothing has to be done',
    };
  if (architecture === 'amd64') return { result: 'ok', why: 'linux on amd64' };
  return {
    result: 'warn',
    why: `linux on ${architecture}, where nobody has tried it`,
    remedy: 'See whether the images that you install are there for it',
  };
}

/** Moves, and services resolved at connect(). */
const needed = [5, 15] as const;
/** Programs are attached by links that are pinned, next to those of others. */
const tcx = [6, 6] as const;

function kernel({ kernelVersion, operatingSystem }: NodeInfo): Verdict {
  if (operatingSystem !== 'linux') return { result: 'ok', why: 'not looked at: it gets no agent' };
  const version = /^(\d+)\.(\d+)/.exec(kernelVersion);
  if (version === null)
    return {
      result: 'warn',
      why: `"${kernelVersion}" is no version that can be compared`,
      remedy: `It has to be ${needed.join('.')} or later`,
    };
  const [major, minor] = [Number(version[1]), Number(version[2])];
  if (isBefore(major, minor, needed))
    return {
      result: 'fail',
      why: `${major}.${minor} is older than ${needed.join('.')}: no data plane, so no moves, and services go by kube-proxy`,
      remedy: 'Update it, or keep agents off such nodes by agent.nodeSelector',
    };
  const how = isBefore(major, minor, tcx)
    ? `the data plane works; its programs are attached by clsact filters, since TCX came with ${tcx.join('.')}`
    : 'the data plane works, with TCX';
  return { result: 'ok', why: `${major}.${minor}: ${how}` };
}

function isBefore(major: number, minor: number, [thanMajor, thanMinor]: readonly [number, number]): boolean {
  return major < thanMajor || (major === thanMajor && minor < thanMinor);
}

function runtime({ containerRuntimeVersion, operatingSystem }: NodeInfo): Verdict {
  if (operatingSystem !== 'linux') return { result: 'ok', why: 'not looked at: it gets no agent' };
  const [name = ''] = containerRuntimeVersion.split('://');
  if (name === 'containerd') return { result: 'ok', why: 'containerd: pods can be moved by CRIU' };
  return {
    result: 'warn',
    why: `${name === '' ? 'it is not known' : name}: services and other nodes' moves work, but pods are moved by CRIU under containerd alone`,
    remedy: 'Set agent.criu.enabled=false where nothing is to move, or use containerd',
  };
}

/** Images whose own default it is; whoever has changed that knows it. */
const versionOne =
  /^(Amazon Linux 2($| )(?!023)|CentOS Linux 7|(Red Hat Enterprise Linux|Rocky Linux|AlmaLinux|Oracle Linux)( Server)? [78]|Ubuntu (18|20)\.|Debian GNU\/Linux (9|10))/;
const versionTwo =
  /^(Ubuntu (2[2-9]|[3-9]\d)\.|Debian GNU\/Linux (1[1-9]|[2-9]\d|trixie|forky)|(Red Hat Enterprise Linux|Rocky Linux|AlmaLinux|Oracle Linux)( Server)? (9|1\d)|Fedora|Amazon Linux 2023|Flatcar|Bottlerocket|Talos|Container-Optimized OS)/;
/** Kubelets from then on do not start on version 1 unless they are told to. */
const refusesOne = [1, 35] as const;

function cgroups({ osImage, kubeletVersion, operatingSystem }: NodeInfo): Verdict {
  if (operatingSystem !== 'linux') return { result: 'ok', why: 'not looked at: it gets no agent' };
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(kubeletVersion) ?? [];
  if (major !== undefined && !isBefore(Number(major), Number(minor), refusesOne))
    return { result: 'ok', why: `version 2: a kubelet of ${major}.${minor} starts on no other by default` };
  if (versionTwo.test(osImage)) return { result: 'ok', why: `version 2 is the default of ${osImage}` };
  const remedy =
    '`stat -fc %T /sys/fs/cgroup` on the node has to say cgroup2fs; systemd.unified_cgroup_hierarchy=1 on its kernel command line makes it so';
  return versionOne.test(osImage)
    ? {
        result: 'warn',
        why: `version 1 is the default of ${osImage}: connect() could not be seen, nor pods be frozen`,
        remedy,
      }
    : {
        result: 'warn',
        why: `which version ${osImage || 'it'} has can not be told from here; 2 is needed`,
        remedy,
      };
}
