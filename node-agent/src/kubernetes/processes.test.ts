import { describe, expect, it } from '@jest/globals';
import type { PodObject } from './pod-object.js';
import { membersOf } from './pod-places.js';
import { processOf } from './processes.js';

const one = '1'.repeat(64);
const other = '2'.repeat(64);
const uid = '8b48de85-6029-44e7-a049-fb8f7dbaa282';
const systemd = uid.replaceAll('-', '_');

describe('whose a process is, by its cgroup', () => {
  it.each<[string, string, { container?: string; pod?: string } | undefined]>([
    [
      'systemd and containerd',
      `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${systemd}.slice/cri-containerd-${one}.scope`,
      { container: one, pod: uid },
    ],
    ['cgroupfs', `0::/kubepods/besteffort/pod${uid}/${one}`, { container: one, pod: uid }],
    [
      'CRI-O',
      `0::/kubepods.slice/kubepods-pod${systemd}.slice/crio-${one}.scope/container`,
      { container: one, pod: uid },
    ],
    ['no pod in the path', `0::/k8s.io/${one}`, { container: one }],
    [
      'a container in a container',
      `0::/docker/${other}/kubepods/pod${uid}/${one}`,
      { container: one, pod: uid },
    ],
    ['seen from a cgroup namespace', `0::/../../pod${uid}/${one}`, { container: one, pod: uid }],
    ['cgroup v1', `5:cpu:/kubepods/pod${uid}/${one}\n1:name=systemd:/x\n`, { container: one, pod: uid }],
    ['a service', '0::/system.slice/ssh.service', undefined],
    ['a kernel thread', '0::/', undefined],
    ['gone', '', undefined],
  ])('%s', (_, text, expected) => {
    const found = processOf(7, text);
    if (expected === undefined) expect(found).toBeUndefined();
    else expect(found).toMatchObject({ pid: 7, ...expected });
    expect(found?.pod).toBe(expected?.pod);
  });

  it('tells the containers of a pod from whoever holds its namespaces, and from others', () => {
    const pod = { metadata: { name: 'a', uid }, containers: [one] } as unknown as PodObject;
    const processes = [
      { pid: 1, cgroup: '/', container: one },
      { pid: 2, cgroup: '/', container: other, pod: uid },
      { pid: 3, cgroup: '/', container: one, pod: uid },
      { pid: 4, cgroup: '/', container: '3'.repeat(64), pod: 'another' },
    ];
    const { own, others } = membersOf(pod, processes);
    expect([own, others].map((list) => list.map(({ pid }) => pid))).toEqual([[1, 3], [2]]);
  });
});
