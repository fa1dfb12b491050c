import { datapathContract } from './contract.js';
import { FakeDatapath } from './fake.js';

datapathContract('the fake', () => {
  const slots = 64;
  const datapath = new FakeDatapath({
    slots,
    devices: (netns) => (netns.startsWith('/fake/') ? ['eth0'] : undefined),
  });
  return Promise.resolve({
    datapath,
    slots,
    pods: [
      { name: 'ns/a', netns: '/fake/a', interfaces: ['eth0'] },
      { name: 'ns/b', netns: '/fake/b', interfaces: ['eth0'] },
    ],
    send: (...packet) => Promise.resolve(datapath.send(...packet)),
    end: () => datapath.close(),
  });
});
