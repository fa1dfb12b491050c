import { describe, expect, it } from '@jest/globals';
import { serviceStatus, type StatusInput } from './status.js';
import { kubeService, servalService, slice } from './services.fixture.js';

const now = '2026-11-29T00:00:00.000Z';
const before = '2026-11-28T00:00:00.000Z';

function statusOf(input: Partial<StatusInput>) {
  const status = serviceStatus({
    service: servalService(),
    existing: kubeService(),
    trouble: undefined,
    slices: [],
    now,
    ...input,
  });
  return { ...status, ready: status.conditions?.[0] };
}

describe('the status of a ServalService', () => {
  it('counts replicas by zone, and gives each zone its share', () => {
    const status = statusOf({
      slices: [slice('a', '10.1.0.1/a', '10.1.0.2/a', '!10.1.0.3/b'), slice('b', '10.1.0.4/b')],
    });
    expect(status).toMatchObject({
      observedGeneration: 3,
      virtualIPs: ['10.96.0.7'],
      replicas: 4,
      readyReplicas: 3,
      zones: [
        { zone: 'a', replicas: 2, readyReplicas: 2, weight: 667 },
        { zone: 'b', replicas: 2, readyReplicas: 1, weight: 333 },
      ],
      ready: { status: 'True', reason: 'Serving', lastTransitionTime: now },
    });
  });

  it('counts a pod of both families once', () => {
    const [four, six] = [slice('a', '10.1.0.1'), slice('b', 'fd00::1')];
    for (const each of [four, six])
      Object.assign(each.endpoints[0] ?? {}, { targetRef: { kind: 'Pod', uid: 'p1' } });
    expect(statusOf({ slices: [four, six] })).toMatchObject({ replicas: 1, readyReplicas: 1 });
  });

  it.each<[string, Partial<StatusInput>, string, RegExp]>([
    ['the Service is not there yet', { existing: undefined }, 'Progressing', /being made/],
    ['no pod fits', {}, 'NoReplicas', /no pod .* app=web/],
    ['none is ready', { slices: [slice('a', '!10.1.0.1')] }, 'NoReplicas', /none of its 1 replicas/],
    [
      'nobody says who serves',
      { service: { ...servalService(), spec: { ports: [{ port: 80 }] } } },
      'NoReplicas',
      /no selector, and no EndpointSlice/,
    ],
    [
      'there is trouble',
      { trouble: { reason: 'ServiceDiffers', message: 'it differs' } },
      'ServiceDiffers',
      /it differs/,
    ],
  ])('says in words that %s', (_, input, reason, message) => {
    const { ready } = statusOf(input);
    expect(ready?.reason).toBe(reason);
    expect(ready?.message).toMatch(message);
    expect(ready?.status).not.toBe('True');
  });

  it('names no virtual IPs that are another one’s to give', () => {
    expect(statusOf({ trouble: { reason: 'ManagedByAnother', message: 'x' } }).virtualIPs).toEqual([]);
  });

  it('keeps the time since when it is so', () => {
    const condition = {
      type: 'Ready',
      status: 'True' as const,
      reason: 'x',
      message: 'x',
      lastTransitionTime: before,
    };
    const service = servalService({}, { conditions: [condition] });
    expect(statusOf({ service, slices: [slice('a', '10.1.0.1')] }).ready?.lastTransitionTime).toBe(before);
    expect(statusOf({ service }).ready?.lastTransitionTime).toBe(now);
  });
});
