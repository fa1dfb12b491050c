import { describe, expect, it } from '@jest/globals';
import type { KubeService } from './kube-types.js';
import { labelValue, planService, serviceLabel } from './plan.js';
import { kubeService, servalService } from './services.fixture.js';

const labels = { [serviceLabel]: labelValue };
const ours = [
  { apiVersion: 'serval.io/v1alpha1', kind: 'ServalService', name: 'web', uid: 'u1', controller: true },
];
const theirs = [{ apiVersion: 'example.com/v1', kind: 'Shop', name: 'shop', uid: 'u9', controller: true }];

describe('the Service of a ServalService', () => {
  it('is made where there is none', () => {
    const plan = planService(
      servalService({
        ports: [
          { port: 80, targetPort: 'web' },
          { name: 'b', port: 81 },
        ],
      }),
      undefined,
    );
    expect(plan).toMatchObject({ do: 'apply', isNew: true });
    const { metadata, spec } = (plan as { service: KubeService }).service;
    expect(metadata).toEqual({
      name: 'web',
      namespace: 'shop',
      labels,
      ownerReferences: [{ ...ours[0], blockOwnerDeletion: true }],
    });
    expect(spec).toEqual({
      type: 'ClusterIP',
      ipFamilyPolicy: 'PreferDualStack',
      selector: { app: 'web' },
      ports: [
        { port: 80, protocol: 'TCP', targetPort: 'web' },
        { name: 'b', port: 81, protocol: 'TCP', targetPort: 81 },
      ],
    });
  });

  it('asks for the virtual IPs that are wanted, and has no selector where none is', () => {
    const service = servalService({ virtualIPs: ['10.96.1.1'] });
    delete service.spec.selector;
    const { spec } = (planService(service, undefined) as { service: KubeService }).service;
    expect(spec).toMatchObject({ clusterIP: '10.96.1.1', clusterIPs: ['10.96.1.1'] });
    expect(spec).not.toHaveProperty('selector');
  });

  it('is left as it is where it is ours and right, whatever Kubernetes and others added', () => {
    const own = kubeService({}, { labels: { ...labels, team: 'a' }, ownerReferences: ours });
    expect(planService(servalService(), own)).toEqual({ do: 'nothing' });
  });

  it.each<[string, KubeService]>([
    ['another port', kubeService({ ports: [{ name: 'http', port: 81 }] }, { labels, ownerReferences: ours })],
    [
      'a port too many',
      kubeService(
        {
          ports: [
            { name: 'http', port: 80 },
            { name: 'x', port: 9 },
          ],
        },
        { labels, ownerReferences: ours },
      ),
    ],
    [
      'another port of the pods',
      kubeService(
        { ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
        { labels, ownerReferences: ours },
      ),
    ],
    ['another selector', kubeService({ selector: { app: 'x' } }, { labels, ownerReferences: ours })],
    ['no label of ours', kubeService({}, { ownerReferences: ours })],
  ])('is mended where it is ours and has %s', (_, existing) => {
    expect(planService(servalService(), existing)).toMatchObject({ do: 'apply', isNew: false });
  });

  it('is left alone where another controller has it', () => {
    const plan = planService(servalService(), kubeService({}, { ownerReferences: theirs }));
    expect(plan).toMatchObject({ do: 'leave', trouble: { reason: 'ManagedByAnother' } });
    expect((plan as { trouble: { message: string } }).trouble.message).toMatch(/Shop shop.*another name/);
  });

  it('is adopted by a label alone where it was there and says the same, or what is not declared', () => {
    expect(planService(servalService(), kubeService())).toEqual({ do: 'label' });
    const named = kubeService({ ports: [{ name: 'http', port: 80, targetPort: 'web' }] });
    expect(planService(servalService(), named)).toEqual({ do: 'label' });
    const free = servalService();
    delete free.spec.selector;
    expect(planService(free, kubeService())).toEqual({ do: 'label' });
    expect(planService(servalService(), kubeService({}, { labels }))).toEqual({ do: 'nothing' });
  });

  it.each<[string, KubeService, RegExp]>([
    ['a port', kubeService({ ports: [{ name: 'http', port: 8080 }] }), /does not have port http 80\/TCP/],
    [
      'one more port',
      kubeService({
        ports: [
          { name: 'http', port: 80 },
          { name: 'm', port: 9 },
        ],
      }),
      /also has port m 9\/TCP/,
    ],
    ['the name of a port', kubeService({ ports: [{ name: 'web', port: 80 }] }), /http 80\/TCP/],
    ['the selector', kubeService({ selector: { app: 'y' } }), /app=y, not app=web/],
  ])('is left alone where it was there and differs in %s', (_, existing, words) => {
    const plan = planService(servalService(), existing);
    expect(plan).toMatchObject({ do: 'leave', trouble: { reason: 'ServiceDiffers' } });
    expect((plan as { trouble: { message: string } }).trouble.message).toMatch(words);
  });

  it.each([
    ['a headless one', kubeService({ clusterIPs: ['None'] }, { labels })],
    ['a name for a name', kubeService({ type: 'ExternalName', clusterIPs: [] }, { labels })],
  ])('says that clients get no virtual IP of %s', (_, existing) => {
    expect(planService(servalService(), existing)).toMatchObject({
      do: 'leave',
      trouble: { reason: 'NoVirtualIP' },
    });
  });

  it('goes on without us when the ServalService is gone: ours is collected, another loses our label', () => {
    expect(planService(undefined, undefined)).toEqual({ do: 'nothing' });
    expect(planService(undefined, kubeService({}, { labels, ownerReferences: ours }))).toEqual({
      do: 'nothing',
    });
    expect(planService(undefined, kubeService({}, { labels }))).toEqual({ do: 'unlabel' });
    expect(planService(undefined, kubeService())).toEqual({ do: 'nothing' });
  });
});
