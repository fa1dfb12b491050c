import { describe, expect, it } from '@jest/globals';
import { validators } from './schemas.js';
import { service } from './testing.fixture.js';

/** What only Kubernetes can do is not passed over in silence. */
describe('a ServalService in a directory', () => {
  it('chooses no pods by labels', () => {
    expect(validators.ServalService(service('web', { selector: { app: 'web' } }))).toMatchObject([
      { field: 'spec.selector', remedy: expect.stringMatching(/EndpointSlices/) },
    ]);
  });

  it('says nothing of ports at its replicas, which their EndpointSlices do', () => {
    const ports = [{ port: 80, targetPort: 'http' }];
    expect(validators.ServalService(service('web', { ports }))).toMatchObject([
      { field: 'spec.ports[0].targetPort', remedy: expect.stringMatching(/at which port/) },
    ]);
  });

  it('needs a virtual IP, since nobody gives it one', () => {
    const bare = service('web');
    delete bare.spec.virtualIPs;
    expect(validators.ServalService(bare)).toMatchObject([
      { field: 'spec.virtualIPs', reason: expect.stringMatching(/without a virtual IP/) },
    ]);
  });
});
