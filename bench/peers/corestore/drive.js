'use strict'
// corestore: one hypercore per author in one store, over one connection.

const Corestore = require('corestore')
const { run } = require('../common.js')

async function open ({ dir, keys, authors }) {
  const store = new Corestore(dir)
  await store.ready()
  const cores = keys
    ? keys.map((key) => store.get({ key }))
    : Array.from({ length: authors }, (_, i) => store.get({ name: `author-${i}` }))
  await Promise.all(cores.map((core) => core.ready()))
  return {
    keys: cores.map((core) => core.key.toString('hex')),
    append: (author, entries) => cores[author].append(entries),
    join (socket, initiator) {
      const stream = store.replicate(initiator)
      stream.on('error', () => {})
      socket.pipe(stream).pipe(socket)
    },
    held (expect) {
      const have = cores.map(() => 0)
      let total = 0
      return new Promise((resolve) => {
        cores.forEach((core, i) => {
          core.download({ start: 0, end: -1 })
          core.on('download', () => {
            total += core.contiguousLength - have[i]
            have[i] = core.contiguousLength
            if (total >= expect) resolve()
          })
        })
      })
    },
    follow (onentry) {
      cores.forEach(async (core) => {
        for await (const entry of core.createReadStream({ start: core.length, live: true })) {
          onentry(entry)
        }
      })
    },
    bytes: () => cores.reduce((sum, core) => sum + core.byteLength, 0),
    close: () => store.close()
  }
}

run(require('./package.json'), open)
