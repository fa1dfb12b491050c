import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { storeContract } from './contract.js';
import { DirectoryStore } from './directory.js';

storeContract('a directory', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'serval-contract-'));
  const stores: DirectoryStore[] = [];
  return {
    open: async () => {
      const store = await DirectoryStore.open({ directory });
      stores.push(store);
      return store;
    },
    end: async () => {
      for (const store of stores) await store.close();
      await rm(directory, { recursive: true });
    },
  };
});
